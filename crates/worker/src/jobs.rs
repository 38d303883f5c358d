//! What the loops do, one file a job.

pub(crate) mod blame;
pub(crate) mod compare_group;
pub(crate) mod daily_compare;
pub(crate) mod decide_listed;
pub(crate) mod deleted_people;
pub(crate) mod delta;
pub(crate) mod failing;
pub(crate) mod find_people;
pub(crate) mod full_sync;
pub(crate) mod list_group;
pub(crate) mod managers;
pub(crate) mod reevaluate;
pub(crate) mod relist;
pub(crate) mod seal;
pub(crate) mod settle_due;
pub(crate) mod subscriptions;
pub(crate) mod sync_people;
pub(crate) mod tell_of_holds;
