//! Core against the sentences of the requirements, and against a small reference model written apart from it.

mod access;
mod answers;
mod attributes;
mod brake;
mod by_hand;
mod cel;
mod dependencies;
mod entry;
mod explain;
mod expressions;
mod files;
mod household;
mod kind_change;
mod messages;
mod mirror;
mod precedence;
mod profile;
mod properties;
mod reference;
mod settle;
mod trial;
mod world;
