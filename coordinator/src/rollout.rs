//! The pure core: every decision of the coordinator, with no clock, no chance, no IO.
//!
//! ```text
//!   Input ──turn──> Event ──apply──> State ──decide──> Event (commands among them)
//!                                      │
//!                                      └──view──> what people read
//! ```
//!
//! `turn` is the only way in: it turns inputs into events, applies them, and decides
//! until nothing more follows. `now` is an argument, chance is a seed, what is iterated
//! is ordered; so a replay of the journal is a replay.

pub mod access;
pub mod availability;
mod backoff;
mod chance;
pub mod check;
pub mod decide;
pub mod event;
mod expire;
pub mod gate;
pub mod input;
pub mod node;
pub mod operator;
pub mod outdated;
pub mod plan;
pub mod progress;
pub mod reports;
pub mod requests;
pub mod service;
pub mod state;
pub mod turn;
pub mod view;
mod way_back;
