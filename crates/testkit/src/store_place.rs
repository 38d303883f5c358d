//! Where a test keeps its store: a SQLite file of its own, or, with `LOCKSTEP_TEST_STORE=postgres`, a database of its own on
//! the server that `LOCKSTEP_TEST_POSTGRES_URL` names. That server is thrown away afterwards, and the URL's role may do
//! anything there; the store itself connects as a role that row-level security binds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use uuid::Uuid;

const KEPT_IN: &str = "store-url";
const FILE: &str = "lockstep.db";
const APPLICATION: &str = "lockstep_test";
/// One at a time makes the role and the template.
const LOCK: i64 = 0x10c_5743;

/// Where a test keeps its store.
pub struct StorePlace {
    url: String,
    database: Option<Database>,
}

/// A database of this test alone; dropped with it.
struct Database {
    name: String,
    server: PgConnectOptions,
}

/// Whether this run of the tests is on PostgreSQL.
pub fn on_postgres() -> bool {
    std::env::var("LOCKSTEP_TEST_STORE").is_ok_and(|store| store == "postgres")
}

impl StorePlace {
    /// An empty place; a SQLite file lies in the folder.
    pub async fn new(folder: &Path) -> Self {
        if !on_postgres() {
            return Self { url: file_url(folder), database: None };
        }
        // On a thread of its own: rustc cannot prove that the migrator's future may move between threads.
        let made = std::thread::spawn(|| apart(Database::make()));
        let database = made.join().expect("a database of the test's own");
        Self { url: url_of(&database.server, APPLICATION, &database.name), database: Some(database) }
    }

    /// The same with all tables, remembered in the folder: whoever opens what lies there finds the store again with
    /// [`StorePlace::url_in`].
    pub async fn kept_in(folder: &Path) -> Self {
        let place = Self::new(folder).await;
        if place.database.is_none() {
            std::fs::write(folder.join(FILE), migrated_file()).expect("the folder can be written");
        }
        std::fs::write(folder.join(KEPT_IN), &place.url).expect("the folder can be written");
        place
    }

    /// The store of a folder.
    pub fn url_in(folder: &Path) -> String {
        std::fs::read_to_string(folder.join(KEPT_IN)).unwrap_or_else(|_| file_url(folder))
    }

    /// For `StoreConfig`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// One number behind the store's back.
    pub async fn number(&self, query: &str) -> i64 {
        match &self.database {
            None => sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut self.file().await).await,
            Some(database) => {
                let query = format!("SELECT ({query})::bigint");
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut database.connect().await).await
            }
        }
        .expect("a number")
    }

    /// All texts of a column, behind the store's back.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        match &self.database {
            None => sqlx::query_scalar(query).fetch_all(&mut self.file().await).await,
            Some(database) => sqlx::query_scalar(query).fetch_all(&mut database.connect().await).await,
        }
        .expect("texts")
    }

    /// Something done behind the store's back; `$1` and so on are ids.
    pub async fn change(&self, statement: &str, ids: &[Uuid]) -> Result<(), sqlx::Error> {
        let statement = AssertSqlSafe(statement.to_owned());
        match &self.database {
            None => {
                let query = ids.iter().fold(sqlx::query(statement), |query, id| query.bind(*id));
                query.execute(&mut self.file().await).await.map(|_| ())
            }
            Some(database) => {
                let query = ids.iter().fold(sqlx::query(statement), |query, id| query.bind(*id));
                query.execute(&mut database.connect().await).await.map(|_| ())
            }
        }
    }

    /// Every row of every table as text; only on PostgreSQL, for SQLite's file is its own dump.
    pub async fn dump(&self) -> String {
        const TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
        let Some(database) = &self.database else { return String::new() };
        let mut connection = database.connect().await;
        // Bytes that are text stand as text in it.
        sqlx::query("SET bytea_output = 'escape'").execute(&mut connection).await.expect("a setting");
        let mut dump = String::new();
        let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut connection).await.expect("tables");
        for table in tables {
            let rows = AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
            let rows: Vec<String> = sqlx::query_scalar(rows).fetch_all(&mut connection).await.expect("rows");
            dump.extend(rows);
        }
        dump
    }

    async fn file(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url).await.expect("the store's file")
    }
}

impl Database {
    async fn make() -> Self {
        let server = std::env::var("LOCKSTEP_TEST_POSTGRES_URL").expect("LOCKSTEP_TEST_POSTGRES_URL names a server");
        let server = PgConnectOptions::from_str(&server).expect("LOCKSTEP_TEST_POSTGRES_URL is a postgres:// URL");
        let template = template(&server).await;
        let name = format!("test_{}", Uuid::now_v7().simple());
        run(&server, format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        Self { name, server }
    }

    /// As the role that may do anything: row-level security hides nothing from it.
    async fn connect(&self) -> PgConnection {
        self.server.clone().database(&self.name).connect().await.expect("the test's database")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, server) = (std::mem::take(&mut self.name), self.server.clone());
        let dropped = std::thread::spawn(move || {
            apart(run(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
        });
        let _ = dropped.join();
    }
}

fn apart<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

async fn run(server: &PgConnectOptions, statement: String) {
    let mut connection = server.connect().await.expect("the server of the tests");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("a statement on the server");
    connection.close().await.expect("a connection that ends");
}

fn file_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join(FILE).display())
}

/// The migrated file that each world's is a copy of; the migrations would be a tenth of a short history.
fn migrated_file() -> &'static [u8] {
    static MIGRATED: OnceLock<Vec<u8>> = OnceLock::new();
    MIGRATED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = file_url(folder.path());
        // On a thread of its own, like the database.
        let migrated = std::thread::spawn(move || apart(lockstep_store::migrate(&url, None)));
        migrated.join().expect("a thread that ends").expect("the schema");
        std::fs::read(folder.path().join(FILE)).expect("the file")
    })
}

/// The migrated database that each test's is a copy of; made by the first test that needs it.
async fn template(server: &PgConnectOptions) -> String {
    let mut checksums = DefaultHasher::new();
    sqlx::migrate!("../../migrations/postgres").iter().for_each(|migration| migration.checksum.hash(&mut checksums));
    let name = format!("lockstep_template_{:016x}", checksums.finish());
    let mut connection = server.connect().await.expect("the server of the tests");
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await.expect("the lock");
    let exists = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)").bind(&name);
    let exists: bool = exists.fetch_one(&mut connection).await.expect("an answer");
    if !exists {
        make_template(server, &mut connection, &name).await;
    }
    connection.close().await.expect("a connection that ends");
    name
}

async fn make_template(server: &PgConnectOptions, connection: &mut PgConnection, name: &str) {
    let unfinished = format!("{name}_unfinished");
    let role = format!(
        "DO $$ BEGIN CREATE ROLE {APPLICATION} LOGIN PASSWORD '{APPLICATION}'; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    );
    let before = [role, format!("DROP DATABASE IF EXISTS {unfinished}"), format!("CREATE DATABASE {unfinished}")];
    for statement in before {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await.expect("a statement on the server");
    }
    let owner = server.clone().database(&unfinished).to_url_lossy();
    let application = url_of(server, APPLICATION, &unfinished);
    lockstep_store::migrate(&application, Some(owner.as_str())).await.expect("the schema");
    let rename = format!("ALTER DATABASE {unfinished} RENAME TO {name}");
    sqlx::query(AssertSqlSafe(rename)).execute(connection).await.expect("the template");
}

fn url_of(server: &PgConnectOptions, role: &str, database: &str) -> String {
    format!("postgres://{role}:{role}@{}:{}/{database}", server.get_host(), server.get_port())
}
