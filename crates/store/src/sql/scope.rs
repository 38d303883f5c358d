//! Whose rows a statement may see (G-22). On PostgreSQL row-level security repeats it: a statement sees only rows of the
//! connections that are bound to it. One that binds none goes on with the scope of its transaction, which begins with
//! nobody's; one that forgets to say whose rows it wants finds none.

use std::collections::BTreeSet;

use lockstep_core::ConnectionId;
use uuid::Uuid;

use super::{Bind, Slot, Sql};

/// Whose rows are seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    everywhere: bool,
    connections: BTreeSet<Uuid>,
    realm: String,
}

impl Scope {
    /// All rows: what an operator lists, and upkeep.
    pub(crate) fn everywhere() -> Self {
        Self { everywhere: true, ..Self::default() }
    }

    /// The rows of one connection.
    pub(crate) fn of(connection: ConnectionId) -> Self {
        Self { connections: BTreeSet::from([connection.0]), ..Self::default() }
    }

    /// The rows of one connection, and records of its realm.
    pub(crate) fn of_realm(connection: ConnectionId, realm: &str) -> Self {
        Self { realm: realm.to_owned(), ..Self::of(connection) }
    }

    /// For the statement that begins a transaction, which takes no binds. The ids need no quoting; a realm is any text.
    pub(crate) fn set_local(&self) -> String {
        let mut set = format!("; SET LOCAL lockstep.connection = '{}'", self.connections());
        if !self.realm.is_empty() {
            let bytes: String = self.realm.bytes().map(|byte| format!("{byte:02x}")).collect();
            let realm = format!("convert_from(decode('{bytes}', 'hex'), 'UTF8')");
            set.push_str(&format!("; SELECT set_config('lockstep.realm', {realm}, true)"));
        }
        set
    }

    /// What `lockstep.connection` is set to; ids only, so it needs no quoting.
    pub(crate) fn connections(&self) -> String {
        if self.everywhere {
            return "*".to_owned();
        }
        let ids: Vec<String> = self.connections.iter().map(Uuid::to_string).collect();
        ids.join(",")
    }

    /// What `lockstep.realm` is set to: records of a realm stand in each other's way, whatever connection they are of.
    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// The scope for the next statement, when it differs from this one.
    pub(crate) fn change_for(&self, statement: &Sql) -> Option<Self> {
        if self.everywhere {
            return None;
        }
        let wanted = statement.scope()?;
        // The realm stays as long as the connections do.
        let same = wanted.connections == self.connections && !wanted.everywhere;
        (!same || (!wanted.realm.is_empty() && wanted.realm != self.realm)).then_some(wanted)
    }
}

impl Sql {
    /// Sees the rows of these connections.
    pub(crate) fn within(mut self, connections: impl IntoIterator<Item = ConnectionId>) -> Self {
        let connections = connections.into_iter().map(|id| id.0).collect();
        self.scope = Some(Scope { connections, ..Scope::default() });
        self
    }

    /// Sees the rows of this connection, and records of its realm.
    pub(crate) fn within_realm(mut self, connection: ConnectionId, realm: &str) -> Self {
        self.scope = Some(Scope::of_realm(connection, realm));
        self
    }

    /// Sees all rows: for an operator, who may see them.
    pub(crate) fn everywhere(mut self) -> Self {
        self.scope = Some(Scope::everywhere());
        self
    }

    /// As declared, else that of the connections bound; `None` without any.
    pub(crate) fn scope(&self) -> Option<Scope> {
        if let Some(scope) = &self.scope {
            return Some(scope.clone());
        }
        let binds = self.slots.iter().flat_map(|slot| -> Box<dyn Iterator<Item = &Bind>> {
            match slot {
                Slot::One(bind) => Box::new(std::iter::once(bind)),
                Slot::List(binds) => Box::new(binds.iter()),
                Slot::Rows(rows) => Box::new(rows.iter().flatten()),
                Slot::Postgres(_) => Box::new(std::iter::empty()),
            }
        });
        let connections: BTreeSet<Uuid> = binds
            .filter_map(|bind| match bind {
                Bind::Connection(id) => *id,
                _ => None,
            })
            .collect();
        (!connections.is_empty()).then(|| Scope { connections, ..Scope::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::sql;

    #[test]
    fn g22_a_statement_sees_the_rows_of_the_connections_bound_to_it_and_no_others() {
        let (one, other) = (ConnectionId(Uuid::from_u128(1)), ConnectionId(Uuid::from_u128(2)));
        let nobody = Scope::default();
        assert_eq!(nobody.change_for(&sql("SELECT 1")), None, "nobody's rows stay nobody's");
        let scope = nobody.change_for(&sql("SELECT $1").bind(one)).expect("a new scope");
        assert_eq!(scope.connections(), one.to_string());
        assert_eq!(scope.change_for(&sql("SELECT 1")), None);
        assert_eq!(scope.change_for(&sql("SELECT $1").bind(one)), None);
        let rows = sql("VALUES ").rows([vec![one.into()], vec![other.into()]]);
        assert_eq!(scope.change_for(&rows).expect("both").connections(), format!("{one},{other}"));
        let realm = scope.change_for(&sql("SELECT 1").within_realm(one, "staff")).expect("a realm");
        assert_eq!((realm.realm(), realm.change_for(&sql("SELECT $1").bind(one))), ("staff", None));
        assert_eq!(Scope::everywhere().change_for(&rows), None);
        let hostile = Scope { realm: "'; RESET".to_owned(), ..scope };
        assert!(!hostile.set_local().contains("RESET"), "a realm is never text of a statement");
    }
}
