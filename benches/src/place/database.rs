//! A PostgreSQL database of a measurement's own, with the role that its programs connect as.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use uuid::Uuid;

use crate::error::{BenchError, During as _};

/// Made and migrated; dropped with its role when this is dropped.
pub(super) struct Database {
    server: PgConnectOptions,
    /// Of the database and of the role.
    name: String,
    password: String,
}

impl Database {
    pub async fn make(url: &str) -> Result<Self, BenchError> {
        let server = PgConnectOptions::from_str(url).during("reading the store URL")?;
        let name = format!("lockstep_bench_{}", Uuid::new_v4().simple());
        let database = Self { server, name, password: Uuid::new_v4().simple().to_string() };
        let Self { name, password, .. } = &database;
        run(&database.server, format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'")).await?;
        run(&database.server, format!("CREATE DATABASE {name}")).await?;
        let migrated = lockstep_store::migrate(&database.url(), Some(&database.owner_url())).await;
        migrated.during("migrating a database for the measurement")?;
        Ok(database)
    }

    /// As the role that row-level security binds.
    pub fn url(&self) -> String {
        self.server.clone().username(&self.name).password(&self.password).database(&self.name).to_url_lossy().into()
    }

    /// As the role that made it.
    pub fn owner_url(&self) -> String {
        self.server.clone().database(&self.name).to_url_lossy().into()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        let dropping = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // What cannot be dropped now was made on a server that is thrown away.
            let _ = runtime.map(|runtime| {
                runtime.block_on(async {
                    let _ = run(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
                    let _ = run(&server, format!("DROP ROLE IF EXISTS {name}")).await;
                });
            });
        };
        // A runtime cannot wait inside another one.
        let _ = std::thread::spawn(dropping).join();
    }
}

async fn run(server: &PgConnectOptions, statement: String) -> Result<(), BenchError> {
    const ATTEMPT: &str =
        "making a database for the measurement (the role of the store URL must be allowed to make databases and roles)";
    let mut connection = server.connect().await.during(ATTEMPT)?;
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.during(ATTEMPT)?;
    connection.close().await.during(ATTEMPT)
}
