//! The agent: what one node runs, and how it gets from one release to the next and back.
//!
//! ```text
//!            orders                        work
//!  link ───────────────→ daemon ─────────────────────→ app: fetch lane ─→ effects::fetch ─→ slots
//!   ↑                   │      ↑                            run lane ──→ effects::converge ─→ process
//!   │                   │      │                              │              (keepers)
//!   │ report            │      └────── outcomes ──────────── crew (checks) ←─ probe ── judge
//!   └───────────────────┤
//!                       ↓
//!      install (pure): ledger + order → ledger → work
//! ```
//!
//! The ledger is written before anything follows from it. Work is read off the ledger,
//! so an agent that starts does what one that was never killed would do. Apps are
//! children of keepers, not of the agent, and do not notice when it goes.

pub mod answers;
pub mod app;
pub mod ballast;
pub mod boundary;
pub mod config;
pub mod crew;
pub mod daemon;
pub mod doctor;
pub mod drained;
pub mod drift;
pub mod durable;
pub mod effects;
pub mod enrol;
pub mod facts;
pub mod figures;
pub mod handed;
pub mod health;
pub mod hold;
pub mod identity;
pub mod init;
pub mod install;
pub mod layout;
pub mod ledger;
pub mod link;
pub mod local;
pub mod logs;
pub mod metrics;
pub mod offline;
pub mod person;
pub mod probe;
pub mod process;
pub mod render;
pub mod renew;
pub mod secrets;
pub mod slots;
pub mod status;
pub mod tasks;
pub mod template;
