//! `fleetctl`: the operator's hand.
//!
//! ```text
//!  words typed ─cli→ verb ─commands→ intent ─operator→ coordinator
//!                                                           │
//!        stdout, stderr ←render─ text ←─ view ←─────────────┘
//! ```
//!
//! A verb decides nothing about the fleet: it asks, it shows the answer, and it says
//! with its exit code whether that was what was asked for. The two things that happen
//! here and nowhere else are packing (`pack`, `push`, `upload`) and signing: release
//! keys never leave the machine on which an operator works.
//!
//! `dev` starts a fleet of real processes on this machine.

pub mod app_file;
pub mod cli;
pub mod commands;
pub mod dev;
pub mod error;
pub mod exit;
pub mod follow;
pub mod identity;
pub mod intent;
pub mod operator;
pub mod pack;
pub mod patience;
pub mod push;
pub mod release_keys;
pub mod render;
pub mod scope;
pub mod session;
pub mod settings;
pub mod starter;
pub mod upload;
