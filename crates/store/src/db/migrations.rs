//! Bringing the schema up to date. SQLite's is migrated by whoever opens it; PostgreSQL's by its owner, once, before the
//! programs that need it start (G-29).

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{lite, postgres};
use crate::error::StoreError;

/// What the application role may only add to: nobody who runs as it rewrites the audit (G-28).
const INSERT_ONLY: [&str; 2] = ["audit", "audit_seal"];
const IS_TABLE: &str = "SELECT to_regclass($1) IS NOT NULL";
const IS_ROLE: &str = "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)";

pub(super) fn postgres() -> Migrator {
    sqlx::migrate!("../../migrations/postgres")
}

/// How the schema stands to this program after [`migrate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// It is this program's.
    UpToDate,
    /// A newer program has brought it further, and it was left alone. It serves the version before that one too (G-29).
    Newer,
}

/// What became of a run of the migrations. sqlx refuses a schema with a step that it does not know; a step after all of
/// ours is that of a newer program, and ours are in it.
pub(super) fn outcome(migrations: &Migrator, ran: Result<(), MigrateError>) -> Result<Schema, MigrateError> {
    match ran {
        Ok(()) => Ok(Schema::UpToDate),
        Err(MigrateError::VersionMissing(unknown)) if migrations.iter().all(|ours| ours.version < unknown) => {
            Ok(Schema::Newer)
        }
        Err(failed) => Err(failed),
    }
}

/// Brings the schema of the store at `url` up to date. Safe to run again at any time, and while programs of this version
/// or the one before it run. On PostgreSQL `owner_url` names the role that owns the tables; the role of `url` is given
/// what it needs and no more. On the schema of a newer program it changes nothing, rights included: which of the newer
/// tables may only be added to is not known here.
///
/// # Errors
/// `Refused` without an owner, when both are one role, or when the role of `url` does not exist; `Migration` when a step fails.
pub async fn migrate(url: &str, owner_url: Option<&str>) -> Result<Schema, StoreError> {
    if !postgres::is_url(url) {
        let lite = lite::Lite::open(&lite::path_of(url)?).await?;
        lite.close().await;
        return Ok(lite.schema);
    }
    let Some(owner_url) = owner_url else {
        return Err(StoreError::refused(
            "on PostgreSQL the owner of the tables migrates them: set LOCKSTEP_MIGRATE_URL to its postgres:// URL",
        ));
    };
    let (application, owner) = (postgres::options_of(url)?, postgres::options_of(owner_url)?);
    refuse_one_role(&application, &owner)?;
    let failed = |source| StoreError::database("migrating the database", source);
    let mut connection = owner.connect().await.map_err(failed)?;
    let role = application.get_username().to_owned();
    let known: bool = sqlx::query_scalar(IS_ROLE).bind(&role).fetch_one(&mut connection).await.map_err(failed)?;
    if !known {
        return Err(StoreError::refused(format!(
            "there is no database role {role}, which LOCKSTEP_STORE_URL names: make it with CREATE ROLE {role} LOGIN PASSWORD …"
        )));
    }
    let migrations = postgres();
    let schema = outcome(&migrations, migrations.run(&mut connection).await)
        .map_err(|source| StoreError::Migration { source: Box::new(source) })?;
    if schema == Schema::UpToDate {
        grant(&mut connection, &role).await.map_err(failed)?;
    }
    connection.close().await.map_err(failed)?;
    Ok(schema)
}

fn refuse_one_role(application: &PgConnectOptions, owner: &PgConnectOptions) -> Result<(), StoreError> {
    if application.get_username() != owner.get_username() {
        return Ok(());
    }
    Err(StoreError::refused(
        "LOCKSTEP_STORE_URL and LOCKSTEP_MIGRATE_URL name one database role: row-level security does not bind the owner of a \
         table, so the application needs a role of its own",
    ))
}

/// All in one transaction: a program that runs meanwhile never misses a right it had.
async fn grant(connection: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    let role = quoted(role);
    let mut tx = connection.begin().await?;
    let mut grants = vec![
        format!("GRANT USAGE ON SCHEMA public TO {role}"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"),
        format!("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"),
        format!("REVOKE INSERT, UPDATE, DELETE ON _sqlx_migrations FROM {role}"),
    ];
    for table in INSERT_ONLY {
        if sqlx::query_scalar(IS_TABLE).bind(table).fetch_one(&mut *tx).await? {
            grants.push(format!("REVOKE UPDATE, DELETE ON {table} FROM {role}"));
        }
    }
    for grant in grants {
        sqlx::query(AssertSqlSafe(grant)).execute(&mut *tx).await?;
    }
    tx.commit().await
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
