//! The client for Microsoft Graph and for the token endpoint in front of it: one [`GraphClient`] per connection.
//!
//! Calls read or write one thing each and answer in types, never in JSON. Start at [`GraphClient::connect`]; what can go
//! wrong is [`GraphError`], which knows its class and the sentence for the operator.
//!
//! **Tickets (G-08).** Callers draw a ticket directly before each call. The client therefore never repeats a request on
//! its own account, with one exception: on a 401 it fetches one new token and asks once more. The ticket stays valid
//! then, because the read that counts began later than the ticket was drawn. A call that pages (memberships, parents,
//! address owners) is ordered by the ticket drawn before its first page. A call for many people takes no more than fit
//! into one request ([`IDS_PER_BATCH`] and its like).
//!
//! **Absence (G-09).** "Not found" is said only where Graph itself said so in its own error format. A 404 of any other
//! shape is a bad answer, never evidence that a person is gone. Who is missing in a filtered read is *unseen*, and
//! `@removed` in a delta is a claim: both are to be read by id.
//!
//! Invariant: no store, no queue, no clock of its own (timeouts and pauses are monotonic), no retry loop, no decision
//! about people. A token leaves this crate only towards the configured Graph host (G-26).

mod address;
mod assertion;
mod batch;
mod burst;
mod call;
mod call_span;
mod certificate;
mod client;
mod cloud;
mod connection;
mod deleted;
mod delta;
mod delta_row;
mod error;
mod gate;
mod group;
mod http;
mod identity;
mod kind;
mod member;
mod membership;
mod odata;
mod operator;
mod organization;
mod page_link;
mod subscription;
mod token;
mod token_transport;
mod user;

pub use burst::{BY_ID_PER_BATCH, DELETED_PER_BATCH, EachUser, IDS_PER_BATCH, MEMBERSHIPS_PER_BATCH, UserSight};
pub use certificate::CertificateFile;
pub use client::GraphClient;
pub use cloud::{Cloud, GraphEndpoints};
pub use connection::{Credential, GraphConnection};
pub use deleted::DeletedPage;
pub use delta::{DELTA_ACCESS, DELTA_GROUPS, DELTA_PROFILE, DeltaLink, DeltaNext, DeltaPage};
pub use delta_row::{GroupRow, MemberChange, Removed, UserRow};
pub use error::{GraphError, LinkFault, Unreached};
pub use group::{Group, GroupRead};
pub use kind::ObjectKind;
pub use member::{MembersPage, MembersRead};
pub use membership::{Memberships, MembershipsRead};
pub use organization::Organization;
pub use page_link::PageLink;
pub use subscription::{
    CreatedSubscription, NewSubscription, ReauthorizeOutcome, RemoteSubscription, RenewOutcome, WatchedResource,
};
pub use user::UserRead;
