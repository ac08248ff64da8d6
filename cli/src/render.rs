//! How things look. Every function here but those of [`screen`] and of [`top::terminal`]
//! makes text from a view and prints nothing, so that tests can read it.

pub mod backups;
pub mod dev;
pub mod drift;
pub mod error;
pub mod events;
pub mod explain;
pub mod live;
pub mod logs;
pub mod nodes;
pub mod operators;
pub mod outcome;
pub mod paint;
pub mod plan;
pub mod progress;
pub mod releases;
pub mod rollouts;
pub mod screen;
pub mod status;
pub mod table;
pub mod time;
pub mod tokens;
pub mod top;
