//! What PostgreSQL alone promises: rights and row-level security (G-22, G-28), refusals of a start (G-29), and what
//! becomes of work when the database fails under it (FA-07, FA-08). Without a server these tests say so and pass.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use lockstep_core::ErrorClass;
use lockstep_store::{Clock, Store, StoreError, migrate};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::store_place::{StorePlace, on_postgres};
use crate::world::{World, config, mail, new_connection};

/// Tables with a connection's id that hold nothing of its directory; why is in docs/decisions/0006.
const EXEMPT: [&str; 12] = [
    "audit",
    "connection",
    "delta_link",
    "due",
    "event_swept",
    "exemption",
    "people_count",
    "removal",
    "rule",
    "subscription",
    "task",
    "worker",
];

fn skipped() -> bool {
    if !on_postgres() {
        eprintln!("skipped: LOCKSTEP_TEST_STORE is not postgres");
    }
    !on_postgres()
}

async fn application(world: &World) -> PgConnection {
    PgConnection::connect(world.place.url()).await.unwrap()
}

#[test]
fn g29_both_folders_have_the_same_migrations() {
    let names = |folder: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(folder);
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    const COLUMNS: &str = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE '\\_sqlx%'";
    let postgres: BTreeSet<String> = world.place.texts(COLUMNS).await.into_iter().collect();
    let mut file = migrated_file(world.folder.path()).await;
    const LITE: &str = "SELECT m.name || '.' || c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%'";
    let sqlite: Vec<String> = sqlx::query_scalar(LITE).fetch_all(&mut file).await.unwrap();
    assert_eq!(sqlite.into_iter().collect::<BTreeSet<_>>(), postgres);
}

async fn migrated_file(folder: &Path) -> SqliteConnection {
    let url = format!("sqlite://{}", folder.join("beside.db").display());
    migrate(&url, None).await.unwrap();
    SqliteConnection::connect(&url).await.unwrap()
}

/// A fixed text is one with `$1` in it (see `sql.rs`). Texts that grow are run on both databases by this whole suite.
pub fn fixed_statements(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fixed_statements(&path, found);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        for literal in source.split('"').skip(1).step_by(2).filter(|literal| literal.contains("$1")) {
            let text = literal.replace("\\\n", " ");
            found.insert(text, path.display().to_string());
        }
    }
}

#[tokio::test]
async fn every_fixed_statement_is_prepared_on_both_databases() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    let (mut file, mut postgres) = (migrated_file(world.folder.path()).await, application(&world).await);
    let mut statements = BTreeMap::new();
    fixed_statements(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut statements);
    let mut refused = Vec::new();
    let mut prepared = 0;
    for (text, path) in &statements {
        let of_postgres = text.contains("pg_") || text.contains("set_config") || text.contains("regclass");
        let text = || AssertSqlSafe(text.clone());
        if let Err(error) = postgres.prepare(text().into_sql_str()).await {
            refused.push(format!("PostgreSQL, {path}: {error}"));
        }
        if !of_postgres && let Err(error) = file.prepare(text().into_sql_str()).await {
            refused.push(format!("SQLite, {path}: {error}"));
        }
        prepared += 1;
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(prepared > 60, "only {prepared} statements were found");
}

trait IntoSqlStr {
    fn into_sql_str(self) -> sqlx::SqlStr;
}

impl IntoSqlStr for AssertSqlSafe<String> {
    fn into_sql_str(self) -> sqlx::SqlStr {
        sqlx::SqlSafeStr::into_sql_str(self)
    }
}

#[tokio::test]
async fn g22_without_its_connections_scope_no_row_of_the_directory_is_seen() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    let other = world.store.add_connection(new_connection("fabrikam")).await.unwrap();
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    world.store.take_hints(&[world.about(1), world.about(99)]).await.unwrap();
    let mut application = application(&world).await;
    let own = world.connection.id.to_string();
    for table in
        ["directory_user", "membership", "directory_group", "seen", "record", "history", "event", "event_object"]
    {
        for (scope, sees) in [("", false), (other.id.to_string().as_str(), false), (own.as_str(), true), ("*", true)] {
            let mut tx = application.begin().await.unwrap();
            let enter = "SELECT set_config('lockstep.connection', $1, true)";
            sqlx::query(enter).bind(scope).execute(&mut *tx).await.unwrap();
            let rows = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
            let rows: i64 = sqlx::query_scalar(rows).fetch_one(&mut *tx).await.unwrap();
            assert_eq!(rows > 0, sees, "{table} with the scope {scope:?} shows {rows} rows");
        }
    }
    let mut tx = application.begin().await.unwrap();
    let enter = "SELECT set_config('lockstep.connection', $1, true)";
    sqlx::query(enter).bind(other.id.to_string()).execute(&mut *tx).await.unwrap();
    let into_ours = "INSERT INTO seen (connection_id, object_id, object_kind, seen_at) VALUES ($1, $1, 'user', 1)";
    assert!(sqlx::query(into_ours).bind(world.connection.id.0).execute(&mut *tx).await.is_err(), "nor written");
}

#[tokio::test]
async fn g22_a_table_of_a_connection_is_under_row_level_security_or_exempt_by_decision() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    const OPEN: &str = "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND NOT c.relrowsecurity
        AND (a.attname = 'connection_id' OR c.relname IN ('connection', 'worker')) GROUP BY 1 ORDER BY 1";
    assert_eq!(world.place.texts(OPEN).await, EXEMPT);
}

#[tokio::test]
async fn g28_the_application_adds_to_the_audit_and_never_rewrites_it() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    assert!(world.number("SELECT count(*) FROM audit").await > 0);
    let mut application = application(&world).await;
    for attempt in ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "TRUNCATE audit", "DROP TABLE audit"] {
        for attempt in [attempt.to_owned(), attempt.replace("audit", "audit_seal").replace("actor", "hash")] {
            let error =
                sqlx::query(AssertSqlSafe(attempt.clone())).execute(&mut application).await.expect_err(&attempt);
            assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{attempt}");
        }
    }
}

#[tokio::test]
async fn g29_an_old_schema_an_owner_and_a_missing_owner_are_refused_with_what_to_do() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(1));
    let open = async |url: &str| {
        let mut config = config(&world.place, &world.folder, &clock);
        config.url = url.to_owned();
        Store::open(config).await.err().expect("a refusal").to_string()
    };
    let server = std::env::var("LOCKSTEP_TEST_POSTGRES_URL").unwrap();
    let database = world.place.url().rsplit_once('/').unwrap().1.to_owned();
    let owner = PgConnectOptions::from_str(&server).unwrap().database(&database);
    let owner = sqlx::ConnectOptions::to_url_lossy(&owner).to_string();
    assert!(open(&owner).await.contains("make a role of its own"));
    assert!(migrate(world.place.url(), None).await.unwrap_err().to_string().contains("LOCKSTEP_MIGRATE_URL"));
    assert!(migrate(&owner, Some(&owner)).await.unwrap_err().to_string().contains("one database role"));
    migrate(world.place.url(), Some(&owner)).await.expect("again, without harm");
    world.change("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)").await;
    assert!(open(world.place.url()).await.contains("run `lockstep migrate`"));
    world.change("DROP TABLE _sqlx_migrations").await;
    assert!(open(world.place.url()).await.contains("run `lockstep migrate`"));
    let nowhere = open("postgres://x:canary-password@localhost:99999/x").await;
    assert!(!nowhere.contains("canary"), "{nowhere}");
}

#[tokio::test]
async fn fa07_a_backend_killed_in_the_middle_leaves_nothing_half_written_and_the_next_try_works() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    let reads = [world.read(1, &mail(1), true, &[world.staff]).await];
    let mut tx = world.store.begin("killed").await.unwrap();
    let people = tx.mirror(&world.connection, &reads).await.unwrap();
    world
        .change(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND usename = 'lockstep_test'",
        )
        .await;
    let error = world.decide(&mut tx, &people, &reads).await.expect_err("the backend is gone");
    assert!(matches!(error.class(), ErrorClass::Transient { .. }), "{error:?}");
    let commit = tx.commit().await.expect_err("nothing to commit");
    assert!(matches!(commit.class(), ErrorClass::Transient { .. }), "{commit:?}");
    assert_eq!(world.number("SELECT count(*) FROM directory_user").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM record").await, 0);
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = world.sync(&reads).await {
        assert!(matches!(error.class(), ErrorClass::Transient { .. }), "{error:?}");
        assert!(Instant::now() < deadline, "{error:?}");
    }
    assert_eq!(world.number("SELECT count(*) FROM history").await, 1);
}

#[tokio::test]
async fn fa08_a_lock_that_is_not_given_back_ends_the_wait_after_two_seconds() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    let reads = [world.read(1, &mail(1), true, &[world.staff]).await];
    world.sync(&reads).await.unwrap();
    let mut stuck = application(&world).await;
    let mut held = stuck.begin().await.unwrap();
    sqlx::query("SELECT set_config('lockstep.connection', '*', true)").execute(&mut *held).await.unwrap();
    sqlx::query("SELECT 1 FROM directory_user FOR UPDATE").execute(&mut *held).await.unwrap();
    let began = Instant::now();
    let error = world.sync(&reads).await.expect_err("somebody holds the row");
    assert!(matches!(error.class(), ErrorClass::Transient { .. }), "{error:?}");
    assert!((Duration::from_millis(1900)..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
    held.rollback().await.unwrap();
    world.sync(&reads).await.unwrap();
}

#[tokio::test]
async fn a_transaction_in_which_a_statement_failed_never_claims_to_be_committed() {
    if skipped() {
        return;
    }
    let world = World::new().await;
    world.change("ALTER TABLE connection ADD CONSTRAINT never CHECK (first_sync_at IS NULL) NOT VALID").await;
    world.change("UPDATE connection SET first_sync_at = NULL").await;
    let mut tx = world.store.begin("swallowed").await.unwrap();
    assert!(tx.note_first_sync(world.connection.id).await.is_err());
    assert!(tx.commit().await.is_err());
}

#[tokio::test]
async fn fa26_store_time_is_the_databases_time() {
    if skipped() {
        return;
    }
    let place_folder = tempfile::tempdir().unwrap();
    let place = StorePlace::new(place_folder.path()).await;
    let clock = std::sync::Arc::default();
    let mut config = config(&place, &place_folder, &clock);
    config.clock = Clock::system();
    let store = Store::open(config).await.unwrap();
    let theirs = place.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").await;
    let apart = (store.now().micros() - theirs).abs();
    assert!(apart < 2_000_000, "{apart} µs apart");
    let refused = Store::open(lockstep_store::StoreConfig {
        url: "mysql://x".to_owned(),
        key_file: place_folder.path().join("key"),
        clock: Clock::system(),
        timing: store.timing().clone(),
    });
    assert!(matches!(refused.await.err(), Some(StoreError::Refused(_))));
}
