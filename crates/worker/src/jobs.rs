//! What the loops do, one file a job.

pub(crate) mod compare_group;
pub(crate) mod decide_listed;
pub(crate) mod full_sync;
pub(crate) mod list_group;
pub(crate) mod settle_due;
pub(crate) mod subscriptions;
pub(crate) mod sync_people;
