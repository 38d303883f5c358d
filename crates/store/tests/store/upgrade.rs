//! Two versions of the program on one database (G-29, FA-27). The older one finds a schema with steps that it does not know.
//!
//! On PostgreSQL, what the version before this one says to the database is kept in `previous_statements.txt`, and must go on working on the schema as it is now.
//!
//! It shows that every fixed statement is still understood and that no insert of before lacks a column; not that the
//! values mean the same, nor anything of the texts that grow with their number of rows. For those,
//! `LOCKSTEP_PROVE_OTHER_VERSION` runs processes of both versions side by side (docs/proof.md).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use lockstep_store::{Schema, Store, StoreError, migrate};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr};

use crate::postgres::fixed_statements;
use crate::store_place::on_postgres;
use crate::world::{START, World, config};

const BETWEEN: &str = "\n--\n";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/previous_statements.txt")
}

fn previous() -> Vec<String> {
    let text = std::fs::read_to_string(file()).unwrap();
    text.split(BETWEEN).map(|statement| statement.trim().to_owned()).filter(|it| !it.is_empty()).collect()
}

/// Columns that somebody who does not know them cannot leave out.
const WANTED: &str = "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public'
    AND table_name = $1 AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AND is_generated = 'NEVER'";

/// Table and columns of `INSERT INTO table (column, …)`.
fn inserted(statement: &str) -> Option<(String, Vec<String>)> {
    let (_, rest) = statement.split_once("INSERT INTO ")?;
    let (table, rest) = rest.split_once('(')?;
    let (columns, _) = rest.split_once(')')?;
    let columns = columns.split(',').map(|column| column.trim().to_owned()).collect();
    Some((table.trim().to_owned(), columns))
}

#[tokio::test]
async fn g29_what_the_version_before_says_still_works_on_this_schema() {
    if !on_postgres() {
        eprintln!("skipped: LOCKSTEP_TEST_STORE is not postgres");
        return;
    }
    let world = World::new().await;
    let mut database = PgConnection::connect(world.place.url()).await.unwrap();
    let (statements, mut broken) = (previous(), Vec::new());
    for statement in &statements {
        if let Err(error) = database.prepare(AssertSqlSafe(statement.clone()).into_sql_str()).await {
            broken.push(format!("{error}: {statement}"));
        }
        let Some((table, columns)) = inserted(statement) else { continue };
        let wanted: Vec<String> = sqlx::query_scalar(WANTED).bind(&table).fetch_all(&mut database).await.unwrap();
        let lacks: Vec<_> = wanted.into_iter().filter(|column| !columns.contains(column)).collect();
        if !lacks.is_empty() {
            broken.push(format!("lacks {lacks:?}, which have no default: {statement}"));
        }
    }
    assert!(broken.is_empty(), "G-29: the version before this one is broken by the schema:\n{}", broken.join("\n"));
    assert!(statements.len() > 60, "only {} statements are kept", statements.len());
}

async fn migrate_again(world: &World) -> Result<Schema, StoreError> {
    let url = world.place.url();
    if !on_postgres() {
        return migrate(url, None).await;
    }
    let server = PgConnectOptions::from_str(&std::env::var("LOCKSTEP_TEST_POSTGRES_URL").unwrap()).unwrap();
    let owner = server.database(url.rsplit_once('/').unwrap().1).to_url_lossy();
    migrate(url, Some(owner.as_str())).await
}

/// FA-27: a rollback to the program of before, which migrates first and then starts.
#[tokio::test]
async fn g29_the_schema_of_a_newer_program_is_left_alone_and_used() {
    let world = World::new().await;
    assert_eq!(migrate_again(&world).await.unwrap(), Schema::UpToDate);
    world.change("CREATE TABLE added_by_the_newer (id BIGINT)").await;
    world.change(&applied_step(9_999)).await;
    assert_eq!(migrate_again(&world).await.unwrap(), Schema::Newer);
    if on_postgres() {
        let given = "SELECT has_table_privilege('lockstep_test', 'added_by_the_newer', 'UPDATE')::text";
        assert_eq!(world.place.texts(given).await, ["false"], "whether it may be changed is not known here");
    }
    let clock = Arc::new(AtomicI64::new(START));
    let store = Store::open(config(&world.place, &world.folder, &clock)).await.unwrap();
    assert!(store.lookup_connection(world.connection.id).await.unwrap().is_some());

    // A step between ours, that we should know, is of no version after us.
    world.change(&applied_step(0)).await;
    let refused = migrate_again(&world).await.unwrap_err();
    assert!(matches!(refused, StoreError::Migration { .. }), "{refused}");
}

fn applied_step(version: i64) -> String {
    format!(
        "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
         SELECT {version}, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1"
    )
}

/// Run it at a release, when what is now becomes the version before:
/// `cargo test -p lockstep-store --test store keep_the_statements -- --ignored`.
#[test]
#[ignore = "writes the file that the test above reads"]
fn keep_the_statements_of_this_version() {
    let mut statements = BTreeMap::new();
    fixed_statements(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut statements);
    let of_postgres: Vec<&str> = statements.keys().map(|statement| statement.trim()).collect();
    std::fs::write(file(), of_postgres.join(BETWEEN) + "\n").unwrap();
}
