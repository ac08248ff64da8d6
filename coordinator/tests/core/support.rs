//! A whole fleet in memory.

mod drained;
pub mod fleet;
pub mod moves;
pub mod node;
pub mod play;
mod restored;
