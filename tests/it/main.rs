//! Tests of the whole: flows from the simulator to the record, and the shape of the house.

mod accident;
mod attacks;
mod by_hand;
mod deployment;
mod economy;
mod flow;
mod forged;
mod history;
mod kind_change;
mod layering;
mod lossy;
mod seed_stories;
