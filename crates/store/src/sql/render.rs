//! From a statement to what each database's driver takes.
//!
//! PostgreSQL gets lists and rows as arrays, one bind for each column: the text stays the same however many there are, so
//! the server has it prepared. Only one alone has a text of its own.

use std::borrow::Cow;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Postgres, Sqlite};
use uuid::Uuid;

use super::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, Slot, Sql};

type LiteQuery = sqlx::query::Query<'static, Sqlite, SqliteArguments>;
type PostgresQuery = sqlx::query::Query<'static, Postgres, PgArguments>;

impl Sql {
    /// Ready for SQLite. Fixed texts stay prepared, and those about one person or with full lists; others rarely come again.
    pub(crate) fn for_sqlite(self) -> LiteQuery {
        let mut arguments = SqliteArguments::default();
        let comes_again = self.slots.iter().all(Slot::comes_again);
        let text = match self.text {
            Cow::Borrowed(text) => {
                self.slots.into_iter().for_each(|slot| add_lite(&mut arguments, slot, &mut String::new()));
                return sqlx::query_with(text, arguments);
            }
            Cow::Owned(text) => fill(&text, self.slots, |slot, filled| add_lite(&mut arguments, slot, filled)),
        };
        sqlx::query_with(AssertSqlSafe(text), arguments).persistent(comes_again)
    }

    /// Ready for PostgreSQL.
    pub(crate) fn for_postgres(self) -> PostgresQuery {
        let mut arguments = PgArguments::default();
        let text = match self.text {
            Cow::Borrowed(text) => {
                self.slots.into_iter().for_each(|slot| add_postgres(&mut arguments, slot, &mut String::new()));
                return sqlx::query_with(text, arguments);
            }
            Cow::Owned(text) => fill(&text, self.slots, |slot, filled| add_postgres(&mut arguments, slot, filled)),
        };
        sqlx::query_with(AssertSqlSafe(text), arguments)
    }
}

impl Slot {
    /// Its text is likely to be the same the next time.
    fn comes_again(&self) -> bool {
        match self {
            Self::One(_) | Self::Postgres(_) => true,
            Self::List(binds) => [1, IDS_PER_STATEMENT].contains(&binds.len()),
            Self::Rows(rows) => [1, ROWS_PER_STATEMENT].contains(&rows.len()),
        }
    }
}

/// The text with each `?` replaced by what its slot makes of it.
fn fill(text: &str, slots: Vec<Slot>, mut add: impl FnMut(Slot, &mut String)) -> String {
    let mut filled = String::with_capacity(text.len() + 64);
    let mut slots = slots.into_iter();
    for (place, piece) in text.split('?').enumerate() {
        if place > 0 {
            // A `?` too many stays: the database names the statement that is wrong.
            match slots.next() {
                Some(slot) => add(slot, &mut filled),
                None => filled.push('?'),
            }
        }
        filled.push_str(piece);
    }
    filled
}

fn add_lite(arguments: &mut SqliteArguments, slot: Slot, text: &mut String) {
    match slot {
        Slot::One(bind) => {
            text.push('?');
            bind_lite(arguments, bind);
        }
        Slot::List(binds) => parenthesis(arguments, binds, text),
        Slot::Rows(rows) => {
            for (place, row) in rows.into_iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                parenthesis(arguments, row, text);
            }
        }
        Slot::Postgres(_) => {}
    }
}

fn parenthesis(arguments: &mut SqliteArguments, binds: Vec<Bind>, text: &mut String) {
    arguments.reserve(binds.len(), 0);
    text.push('(');
    for (place, bind) in binds.into_iter().enumerate() {
        text.push_str(if place == 0 { "?" } else { ", ?" });
        bind_lite(arguments, bind);
    }
    text.push(')');
}

fn bind_lite(arguments: &mut SqliteArguments, bind: Bind) {
    // Encoding these types into SQLite's own cannot fail.
    let _ = match bind {
        Bind::Int(value) => arguments.add(value),
        Bind::Text(value) | Bind::Json(value) => arguments.add(value),
        Bind::Id(value) | Bind::Connection(value) => arguments.add(value),
        Bind::Bytes(value) => arguments.add(value),
        Bind::Flag(value) => arguments.add(value),
    };
}

fn add_postgres(arguments: &mut PgArguments, slot: Slot, text: &mut String) {
    match slot {
        Slot::One(bind) => {
            bind_postgres(arguments, bind);
            push_place(text, arguments.len());
        }
        Slot::List(binds) if binds.is_empty() => text.push_str("(NULL)"),
        Slot::List(binds) => {
            text.truncate(text.trim_end().trim_end_matches("IN").len());
            text.push_str("= ");
            if is_single(&binds) {
                binds.into_iter().for_each(|bind| bind_postgres(arguments, bind));
                return push_place(text, arguments.len());
            }
            // A query of its own would be joined in any order, and before the statistics know of many rows by walking all of
            // them; an array is looked up in the index. One made by a query hides its length: weighed against statistics that
            // know of few rows, hundreds of ids look dearer than walking all rows of the connection.
            text.push_str("ANY(ARRAY(SELECT unnest(");
            bind_column(arguments, binds);
            push_place(text, arguments.len());
            text.push_str(")))");
        }
        Slot::Rows(rows) if is_single(&rows) => {
            for (place, bind) in rows.into_iter().flatten().enumerate() {
                text.push_str(if place == 0 { "(" } else { ", " });
                bind_postgres(arguments, bind);
                push_place(text, arguments.len());
            }
            text.push(')');
        }
        Slot::Rows(rows) => {
            text.truncate(text.trim_end().len());
            if text.ends_with("VALUES") {
                text.truncate(text.len() - "VALUES".len());
            }
            text.push_str("SELECT * FROM unnest(");
            for (place, column) in columns(rows).into_iter().enumerate() {
                if place > 0 {
                    text.push_str(", ");
                }
                bind_column(arguments, column);
                push_place(text, arguments.len());
            }
            text.push(')');
        }
        Slot::Postgres(fragment) => text.push_str(fragment),
    }
}

/// What is about one person has a text of its own: its plan is the same whatever the values, so that the server soon makes
/// it no more, whereas one for arrays is made anew each time.
const fn is_single<T>(values: &[T]) -> bool {
    values.len() == 1
}

fn push_place(text: &mut String, place: usize) {
    text.push('$');
    text.push_str(&place.to_string());
}

fn columns(rows: Vec<Vec<Bind>>) -> Vec<Vec<Bind>> {
    let mut columns: Vec<Vec<Bind>> = Vec::new();
    for row in rows {
        columns.resize_with(columns.len().max(row.len()), Vec::new);
        columns.iter_mut().zip(row).for_each(|(column, bind)| column.push(bind));
    }
    columns
}

fn bind_postgres(arguments: &mut PgArguments, bind: Bind) {
    // Encoding these types into PostgreSQL's own cannot fail.
    let _ = match bind {
        Bind::Int(value) => arguments.add(value),
        Bind::Text(value) | Bind::Json(value) => arguments.add(value.map(without_nul)),
        Bind::Id(value) | Bind::Connection(value) => arguments.add(value),
        Bind::Bytes(value) => arguments.add(value),
        Bind::Flag(value) => arguments.add(value),
    };
}

/// One array of the type that the column's first value has: the others have the same.
fn bind_column(arguments: &mut PgArguments, column: Vec<Bind>) {
    let _ = match column.first() {
        Some(Bind::Int(_)) => arguments.add(taken(column, |bind| match bind {
            Bind::Int(value) => Some(value),
            _ => None,
        })),
        Some(Bind::Text(_) | Bind::Json(_)) => arguments.add(taken(column, |bind| match bind {
            Bind::Text(value) | Bind::Json(value) => Some(value.map(without_nul)),
            _ => None,
        })),
        Some(Bind::Id(_) | Bind::Connection(_)) | None => arguments.add(taken::<Uuid>(column, |bind| match bind {
            Bind::Id(value) | Bind::Connection(value) => Some(value),
            _ => None,
        })),
        Some(Bind::Bytes(_)) => arguments.add(taken(column, |bind| match bind {
            Bind::Bytes(value) => Some(value),
            _ => None,
        })),
        Some(Bind::Flag(_)) => arguments.add(taken(column, |bind| match bind {
            Bind::Flag(value) => Some(value),
            _ => None,
        })),
    };
}

/// A value of another type is left out: arrays of unequal length make the statement fail, where a null would be written.
fn taken<T>(column: Vec<Bind>, take: impl Fn(Bind) -> Option<Option<T>>) -> Vec<Option<T>> {
    column.into_iter().filter_map(take).collect()
}

/// PostgreSQL's text cannot hold U+0000, which Graph may send in a name.
fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{lock, sql};
    use sqlx::Execute;

    fn text_for_postgres(statement: Sql) -> String {
        statement.for_postgres().sql().as_str().to_owned()
    }

    #[test]
    fn one_text_for_both_and_on_postgres_of_one_length_for_any_number_of_rows() {
        let statement = || {
            let rows = (0..3_i64).map(|n| vec![Bind::Int(Some(n)), Bind::Text(None)]);
            let statement = sql("INSERT INTO t (a, b) VALUES ").rows(rows).push(" ON CONFLICT (a) DO UPDATE SET b = ?");
            statement.bind("x").push(" WHERE a IN ").list(["p", "q"]).on_postgres(lock::ROWS)
        };
        assert_eq!(
            statement().for_sqlite().sql().as_str(),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?), (?, ?) ON CONFLICT (a) DO UPDATE SET b = ? WHERE a IN (?, ?)"
        );
        assert_eq!(
            text_for_postgres(statement()),
            "INSERT INTO t (a, b) SELECT * FROM unnest($1, $2) ON CONFLICT (a) DO UPDATE SET b = $3 \
             WHERE a = ANY(ARRAY(SELECT unnest($4))) FOR UPDATE"
        );
        assert_eq!(text_for_postgres(sql("SELECT $1").bind(1_i64)), "SELECT $1");
        let alone = sql("INSERT INTO t (a, b) VALUES ").rows([vec![1_i64.into(), "x".into()]]);
        assert_eq!(
            text_for_postgres(alone.push(" WHERE a IN ").list(["p"]).on_postgres(lock::ROWS)),
            "INSERT INTO t (a, b) VALUES ($1, $2) WHERE a = $3 FOR UPDATE"
        );
    }

    #[test]
    fn t8_a_statement_that_comes_again_stays_prepared_by_sqlite() {
        let ids = |number: usize| vec![7_i64; number];
        let listed = |number| sql("SELECT b FROM t WHERE a = ").value(1_i64).push(" AND b IN ").list(ids(number));
        let stays = |statement: Sql| Execute::persistent(&statement.for_sqlite());
        assert!(stays(sql("SELECT $1").bind(1_i64)) && stays(sql("SELECT ").value(1_i64)));
        assert!(stays(listed(IDS_PER_STATEMENT)) && stays(listed(1)) && !stays(listed(IDS_PER_STATEMENT - 1)));
        let rows = |number: usize| sql("INSERT INTO t (a) VALUES ").rows(vec![vec![Bind::Int(None)]; number]);
        assert!(stays(rows(ROWS_PER_STATEMENT)) && stays(rows(1)) && !stays(rows(2)));
    }
}
