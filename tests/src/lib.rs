//! What the tests of the whole share: the story's company, chance that repeats itself, and the reference model.

mod chance;
pub mod model;

pub use chance::Chance;

use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_testkit::{RuleFor, World};
use uuid::Uuid;

/// Staff and managers are employees, portal users are contacts; managers beat staff.
pub struct Company {
    /// Mapped at order 20.
    pub staff: Uuid,
    /// Mapped at order 10.
    pub managers: Uuid,
    /// Inside staff.
    pub field_team: Uuid,
}

impl Company {
    /// Founds the company and puts its rules in force.
    pub async fn connected(world: &World) -> Self {
        let company = Self {
            staff: world.group("Staff"),
            managers: world.group("Managers"),
            field_team: world.group("Field Team"),
        };
        world.tenant.add_member(company.staff, company.field_team).expect("groups nest");
        world.map(&company.rules()).await;
        company
    }

    /// The rules in force.
    pub fn rules(&self) -> [RuleFor; 2] {
        [
            RuleFor { group: self.managers, order: 10, kind: Kind::Employee, role: "Manager" },
            RuleFor { group: self.staff, order: 20, kind: Kind::Employee, role: "Technician" },
        ]
    }
}

/// Asserts that the record is in, with this role.
#[track_caller]
pub fn assert_in(record: Option<&Record>, role: &str) {
    let record = record.expect("there is a record");
    assert_eq!((record.status, record.role.as_deref()), (Status::Active, Some(role)), "reasons {:?}", record.reasons);
}

/// Asserts that the record is out, for this reason alone.
#[track_caller]
pub fn assert_out(record: Option<&Record>, reason: Reason) {
    let record = record.expect("the record is kept");
    assert_eq!(record.status, Status::Inactive);
    assert_eq!(record.reasons, [reason].into());
}
