//! The table of user properties that can be mapped, and the mapping that holds where the rules file says nothing.
//!
//! To add a mapping field, add one row here (and the property to [`crate::profile::SELECT`]).

use crate::record::Kind;

/// One property of a directory user.
#[derive(Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Graph's name, as in `user.<property>`.
    pub property: &'static str,
    /// What kind of value it is.
    pub shape: Shape,
    /// The field it fills unless the rules file says otherwise.
    pub field: Option<&'static str>,
    /// Kinds of record that have this field built in.
    pub kinds: &'static [Kind],
}

/// What a property's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One line of text.
    Text,
    /// Text that may have line breaks.
    Lines,
    /// A list of texts.
    List,
    /// A list of which the first entry counts: Graph keeps at most one number in `businessPhones` `[USER]`.
    First,
    /// Yes or no.
    Flag,
}

const BOTH: &[Kind] = &[Kind::Employee, Kind::Contact];
const EMPLOYEE: &[Kind] = &[Kind::Employee];

const fn row(property: &'static str, shape: Shape) -> Attribute {
    Attribute { property, shape, field: None, kinds: &[] }
}

const fn mapped(property: &'static str, shape: Shape, field: &'static str, kinds: &'static [Kind]) -> Attribute {
    Attribute { property, shape, field: Some(field), kinds }
}

/// One row per property of [`crate::profile::SELECT`] and [`crate::profile::MANAGER`]. `email` and `username` are no rows: they follow `mail` and the
/// username style.
pub const ATTRIBUTES: &[Attribute] = &[
    row("id", Shape::Text),
    row("accountEnabled", Shape::Flag),
    row("userType", Shape::Text),
    row("externalUserState", Shape::Text),
    mapped("displayName", Shape::Text, "display_name", BOTH),
    mapped("givenName", Shape::Text, "given_name", BOTH),
    mapped("surname", Shape::Text, "surname", BOTH),
    mapped("userPrincipalName", Shape::Text, "upn", BOTH),
    row("mail", Shape::Text),
    row("otherMails", Shape::List),
    row("proxyAddresses", Shape::List),
    mapped("jobTitle", Shape::Text, "job_title", BOTH),
    mapped("department", Shape::Text, "department", BOTH),
    mapped("companyName", Shape::Text, "company", BOTH),
    mapped("officeLocation", Shape::Text, "office", BOTH),
    mapped("employeeId", Shape::Text, "employee_id", EMPLOYEE),
    row("employeeType", Shape::Text),
    row("employeeHireDate", Shape::Text),
    mapped("businessPhones", Shape::First, "phone", BOTH),
    mapped("mobilePhone", Shape::Text, "mobile", BOTH),
    row("faxNumber", Shape::Text),
    mapped("streetAddress", Shape::Lines, "street", BOTH),
    mapped("city", Shape::Text, "city", BOTH),
    mapped("state", Shape::Text, "state", BOTH),
    mapped("postalCode", Shape::Text, "postal_code", BOTH),
    mapped("country", Shape::Text, "country", BOTH),
    row("usageLocation", Shape::Text),
    mapped("preferredLanguage", Shape::Text, "language", BOTH),
    row("createdDateTime", Shape::Text),
    row("signInSessionsValidFromDateTime", Shape::Text),
    row("onPremisesSyncEnabled", Shape::Flag),
    row("onPremisesImmutableId", Shape::Text),
    row("onPremisesSamAccountName", Shape::Text),
    row("manager.id", Shape::Text),
    mapped("manager.displayName", Shape::Text, "manager", EMPLOYEE),
    row("manager.mail", Shape::Text),
    row("manager.userPrincipalName", Shape::Text),
];

/// The row of a property, by Graph's exact spelling.
pub fn lookup(property: &str) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|attribute| attribute.property == property)
}

/// The fields that a record of this kind has without any rules file, as (field, row).
pub fn built_in(kind: Kind) -> impl Iterator<Item = (&'static str, &'static Attribute)> {
    ATTRIBUTES
        .iter()
        .filter(move |attribute| attribute.kinds.contains(&kind))
        .filter_map(|attribute| attribute.field.map(|field| (field, attribute)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::profile::{MANAGER, SELECT};

    #[test]
    fn every_property_that_is_read_can_be_mapped_and_no_other() {
        let rows: BTreeSet<_> = ATTRIBUTES.iter().map(|attribute| attribute.property).collect();
        assert_eq!(rows, SELECT.iter().chain(MANAGER).copied().collect());
        assert_eq!(rows.len(), ATTRIBUTES.len(), "a property has one row");
    }

    #[test]
    fn no_two_rows_fill_one_field() {
        for kind in BOTH {
            let fields: Vec<_> = built_in(*kind).map(|(field, _)| field).collect();
            assert_eq!(fields.len(), fields.iter().collect::<BTreeSet<_>>().len());
        }
    }
}
