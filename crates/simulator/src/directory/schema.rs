//! Which properties users, groups and devices have, and which come without being selected
//! (`graph-contract.md`, section 6).

use serde_json::{Value, json};

/// The kind of a directory object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) enum Kind {
    User,
    Group,
    Device,
}

impl Kind {
    /// `user`, `group`, `device`: as in type names and casts.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Device => "device",
        }
    }

    /// `#microsoft.graph.user`, as Graph answers it.
    pub fn odata_type(self) -> String {
        format!("#microsoft.graph.{}", self.word())
    }

    /// The kind a cast segment such as `microsoft.graph.user` names.
    pub fn of_cast(segment: &str) -> Option<Self> {
        [Self::User, Self::Group, Self::Device]
            .into_iter()
            .find(|kind| segment == format!("microsoft.graph.{}", kind.word()))
    }

    fn table(self) -> &'static [Property] {
        match self {
            Self::User => USER,
            Self::Group => GROUP,
            Self::Device => DEVICE,
        }
    }

    /// The property of this name, in the spelling of Graph.
    pub fn property(self, name: &str) -> Option<&'static Property> {
        self.table().iter().find(|property| property.name == name)
    }

    /// What is answered when nothing is selected.
    pub fn default_properties(self) -> impl Iterator<Item = &'static Property> {
        self.table().iter().filter(|property| property.by_default)
    }
}

/// One property of a kind.
#[derive(Debug)]
pub(crate) struct Property {
    pub name: &'static str,
    pub by_default: bool,
    list: bool,
}

impl Property {
    /// What Graph answers while the property was never set.
    pub fn unset(&self) -> Value {
        if self.list { json!([]) } else { Value::Null }
    }
}

const fn default(name: &'static str) -> Property {
    Property { name, by_default: true, list: false }
}

const fn default_list(name: &'static str) -> Property {
    Property { name, by_default: true, list: true }
}

const fn selected(name: &'static str) -> Property {
    Property { name, by_default: false, list: false }
}

const fn selected_list(name: &'static str) -> Property {
    Property { name, by_default: false, list: true }
}

const USER: &[Property] = &[
    default("id"),
    default_list("businessPhones"),
    default("displayName"),
    default("givenName"),
    default("jobTitle"),
    default("mail"),
    default("mobilePhone"),
    default("officeLocation"),
    default("preferredLanguage"),
    default("surname"),
    default("userPrincipalName"),
    selected("accountEnabled"),
    selected("ageGroup"),
    selected_list("assignedLicenses"),
    selected_list("assignedPlans"),
    selected("city"),
    selected("companyName"),
    selected("consentProvidedForMinor"),
    selected("country"),
    selected("createdDateTime"),
    selected("creationType"),
    selected("deletedDateTime"),
    selected("department"),
    selected("employeeHireDate"),
    selected("employeeId"),
    selected("employeeLeaveDateTime"),
    selected("employeeOrgData"),
    selected("employeeType"),
    selected("externalUserState"),
    selected("externalUserStateChangeDateTime"),
    selected("faxNumber"),
    selected_list("identities"),
    selected_list("imAddresses"),
    selected("isResourceAccount"),
    selected("lastPasswordChangeDateTime"),
    selected("legalAgeGroupClassification"),
    selected("mailNickname"),
    selected("onPremisesDistinguishedName"),
    selected("onPremisesDomainName"),
    selected("onPremisesExtensionAttributes"),
    selected("onPremisesImmutableId"),
    selected("onPremisesLastSyncDateTime"),
    selected_list("onPremisesProvisioningErrors"),
    selected("onPremisesSamAccountName"),
    selected("onPremisesSecurityIdentifier"),
    selected("onPremisesSyncEnabled"),
    selected("onPremisesUserPrincipalName"),
    selected_list("otherMails"),
    selected("passwordPolicies"),
    selected("passwordProfile"),
    selected("postalCode"),
    selected("preferredDataLocation"),
    selected_list("provisionedPlans"),
    selected_list("proxyAddresses"),
    selected("securityIdentifier"),
    selected("showInAddressList"),
    selected("signInSessionsValidFromDateTime"),
    selected("state"),
    selected("streetAddress"),
    selected("usageLocation"),
    selected("userType"),
];

const GROUP: &[Property] = &[
    default("id"),
    default("deletedDateTime"),
    default("classification"),
    default("createdDateTime"),
    default("description"),
    default("displayName"),
    default("expirationDateTime"),
    default_list("groupTypes"),
    default("isAssignableToRole"),
    default("mail"),
    default("mailEnabled"),
    default("mailNickname"),
    default("membershipRule"),
    default("membershipRuleProcessingState"),
    default("onPremisesDomainName"),
    default("onPremisesLastSyncDateTime"),
    default("onPremisesNetBiosName"),
    default("onPremisesSamAccountName"),
    default("onPremisesSecurityIdentifier"),
    default("onPremisesSyncEnabled"),
    default("preferredDataLocation"),
    default("preferredLanguage"),
    default_list("proxyAddresses"),
    default("renewedDateTime"),
    default_list("resourceBehaviorOptions"),
    default_list("resourceProvisioningOptions"),
    default("securityEnabled"),
    default("securityIdentifier"),
    default("theme"),
    default("uniqueName"),
    default("visibility"),
    default_list("onPremisesProvisioningErrors"),
    selected("hasMembersWithLicenseErrors"),
    selected("licenseProcessingState"),
];

const DEVICE: &[Property] = &[
    default("id"),
    default("deletedDateTime"),
    default("accountEnabled"),
    default("deviceId"),
    default("displayName"),
    default("operatingSystem"),
    default("operatingSystemVersion"),
    default("trustType"),
];
