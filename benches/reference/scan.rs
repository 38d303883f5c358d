//! The reference *scan*: every row that a decision about people rests on, read once, table by table.

use std::str::FromStr;
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::error::{BenchError, During as _};

const ATTEMPT: &str = "reading all rows as the reference does";
const TABLES: [&str; 3] =
    ["SELECT * FROM directory_user", "SELECT * FROM membership", "SELECT * FROM record WHERE status <> 'archived'"];

/// Seconds for people, their edges and their records, on the engine of this URL.
pub(crate) async fn seconds(url: &str) -> Result<f64, BenchError> {
    let mut rows = 0;
    let began = if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await.during(ATTEMPT)?;
        let began = Instant::now();
        for table in TABLES {
            rows += sqlx::query(table).fetch_all(&mut connection).await.during(ATTEMPT)?.len();
        }
        began
    } else {
        let options = SqliteConnectOptions::from_str(url).during(ATTEMPT)?.read_only(true);
        let mut connection = options.connect().await.during(ATTEMPT)?;
        let began = Instant::now();
        for table in TABLES {
            rows += sqlx::query(table).fetch_all(&mut connection).await.during(ATTEMPT)?.len();
        }
        began
    };
    let seconds = began.elapsed().as_secs_f64();
    match rows {
        0 => Err(BenchError::Worthless("there was nothing to read".to_owned())),
        _ => Ok(seconds),
    }
}
