//! A fleet in memory: the coordinator's real core, the agents' real rules, and nothing but
//! a queue between them. No processes, no clock, no chance: what a script says happens.
//!
//! ```text
//!  script ─► World ─ Input ─► turn ─► Events ─► journal ─► check
//!              ▲                └─ Command ─► wire ─► Node (install.rs) ─ AppStatus ─┐
//!              └──────────────────────────────────────────────────────────────────────┘
//! ```

pub mod node;
pub mod world;
