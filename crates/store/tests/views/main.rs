//! What is shown, and what an import brings in.

mod import;
mod questions;
mod shown;
mod world;
