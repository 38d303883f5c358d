//! The query options of OData that Graph gives us: `$select`, `$filter`, `$top`, `$skiptoken`.

pub(crate) mod filter;
pub(crate) mod query;
pub(crate) mod select;
