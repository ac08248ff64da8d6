//! A fleet in memory: the coordinator's real core, the agents' real rules, and nothing but
//! a queue between them. No processes, no clock. `world` does what a script says, without
//! chance; `storm` does what a seed says, with everything that can go wrong.
//!
//! ```text
//!  script ─► World ─ Input ─► turn ─► Events ─► journal ─► check
//!              ▲                └─ Command ─► wire ─► Node (install.rs) ─ AppStatus ─┐
//!              └──────────────────────────────────────────────────────────────────────┘
//! ```

pub mod node;
pub mod storm;
pub mod world;
