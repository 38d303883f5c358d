//! What is shown, and what an import brings in.

#[path = "../../../testkit/src/store_place.rs"] // the test kit stands above the store
#[allow(dead_code)] // each uses a part of it
mod store_place;

mod import;
mod questions;
mod shown;
mod world;
