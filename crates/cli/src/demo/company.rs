//! The small company that `simulate` and `demo` start with.

use lockstep_simulator::{NewGroup, NewUser, SimulatorError, Tenant};
use uuid::Uuid;

use crate::failure::Failure;

/// Groups and the people the story is about.
pub struct Company {
    /// Employees; "Field Team" is nested in it.
    pub staff: (Uuid, String),
    /// Employees with another role; wins over Staff.
    pub managers: (Uuid, String),
    /// Contacts.
    pub portal: (Uuid, String),
    /// Nested in Staff.
    pub field_team: (Uuid, String),
    /// Object id and display name, in the order of [`PEOPLE`].
    pub people: Vec<(Uuid, String)>,
}

/// Who works where at the beginning, and as what.
const PEOPLE: [(&str, Place, &str); 6] = [
    ("Ada Lovelace", Place::Staff, "Analyst"),
    ("Alan Turing", Place::Staff, "Engineer"),
    ("Katherine Johnson", Place::FieldTeam, "Navigator"),
    ("Edsger Dijkstra", Place::Staff, "Engineer"),
    ("Barbara Liskov", Place::Managers, "Head of Engineering"),
    ("Margaret Hamilton", Place::Portal, "Customer"),
];

const GIVEN: [&str; 24] = [
    "Ines", "Noor", "Kai", "Lena", "Omar", "Mira", "Jonas", "Sofia", "Tariq", "Elif", "Hugo", "Yuki", "Pavel", "Zoe",
    "Samir", "Ruth", "Diego", "Anna", "Kofi", "Maja", "Luca", "Amina", "Erik", "Chloe",
];
const FAMILY: [&str; 23] = [
    "Brandt", "Okafor", "Haddad", "Lund", "Novak", "Silva", "Tanaka", "Weber", "Rossi", "Kaya", "Dubois", "Moreau",
    "Larsen", "Petrov", "Costa", "Meyer", "Singh", "Jensen", "Bauer", "Khan", "Virtanen", "Marino", "Nguyen",
];
const TITLES: [&str; 6] = ["Engineer", "Technician", "Accountant", "Consultant", "Designer", "Analyst"];

#[derive(Clone, Copy)]
enum Place {
    Staff,
    FieldTeam,
    Managers,
    Portal,
    Nowhere,
}

impl Company {
    /// Founds it in an empty tenant.
    pub fn found(tenant: &Tenant) -> Result<Self, Failure> {
        let group = |name: &str| (tenant.create_group(NewGroup::named(name)), name.to_owned());
        let mut company = Self {
            staff: group("Staff"),
            managers: group("Managers"),
            portal: group("Portal Users"),
            field_team: group("Field Team"),
            people: Vec::new(),
        };
        tenant.add_member(company.staff.0, company.field_team.0).map_err(refused)?;
        for (name, place, title) in PEOPLE {
            let id = company.employ(tenant, name, place, title)?;
            company.people.push((id, name.to_owned()));
        }
        Ok(company)
    }

    /// All groups, those that rules name first.
    pub fn groups(&self) -> [&(Uuid, String); 4] {
        [&self.staff, &self.managers, &self.portal, &self.field_team]
    }

    /// Grows to this many people in the tenant; about one in seven is in no group, as in real tenants.
    pub fn grow(&self, tenant: &Tenant, people: usize) -> Result<(), Failure> {
        for number in 0..people.saturating_sub(self.people.len()) {
            let place = match number % 14 {
                0..=6 => Place::Staff,
                7 | 8 => Place::FieldTeam,
                9 => Place::Managers,
                10 | 11 => Place::Portal,
                _ => Place::Nowhere,
            };
            self.employ(tenant, &nth_name(number), place, TITLES[number % TITLES.len()])?;
        }
        Ok(())
    }

    fn employ(&self, tenant: &Tenant, name: &str, place: Place, title: &str) -> Result<Uuid, Failure> {
        let id = tenant.create_user(NewUser::named(name).with("jobTitle", title));
        let group = match place {
            Place::Staff => self.staff.0,
            Place::FieldTeam => self.field_team.0,
            Place::Managers => self.managers.0,
            Place::Portal => self.portal.0,
            Place::Nowhere => return Ok(id),
        };
        tenant.add_member(group, id).map_err(refused)?;
        Ok(id)
    }

    /// The rules file that fits this company.
    pub fn rules_file(&self) -> String {
        let rule = |group: &(Uuid, String), order: u32, kind: &str, role: &str| {
            format!(
                "# {}\n[[rule]]\ngroup = \"{}\"\norder = {order}\nkind = \"{kind}\"\nrole = \"{role}\"\n\n",
                group.1, group.0
            )
        };
        [
            rule(&self.managers, 10, "employee", "Manager"),
            rule(&self.staff, 20, "employee", "Technician"),
            rule(&self.portal, 30, "contact", "Portal user"),
        ]
        .concat()
    }
}

/// A name for everybody; from 552 on they carry a number.
pub fn nth_name(number: usize) -> String {
    // 24 and 23 have no common divisor, so that every pair comes up before one comes twice.
    let name = format!("{} {}", GIVEN[number % GIVEN.len()], FAMILY[number % FAMILY.len()]);
    match number / (GIVEN.len() * FAMILY.len()) {
        0 => name,
        round => format!("{name} {}", round + 1),
    }
}

/// The simulator's own objects are always there; if not, its words say what is wrong.
pub fn refused(error: SimulatorError) -> Failure {
    Failure::of("changing the simulated tenant", &error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everybody_has_a_name_of_their_own() {
        let names: BTreeSet<String> = (0..2_000).map(nth_name).collect();
        assert_eq!(names.len(), 2_000);
    }
}
