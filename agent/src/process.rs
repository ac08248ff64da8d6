//! Processes: each component is in the hands of a manager, the one that its release names.
//!
//! | `kind` | manager |
//! |---|---|
//! | `supervise` | a keeper of its own, below |
//! | `systemd` | the node's systemd, told over its socket |
//! | `pm2` | the node's pm2, by its command |
//! | `static` | none: a link, switched to the files |
//! | `agent` | the agent's own package, by dpkg, under a guard |
//!
//! A keeper is a small process that is the app's parent and outlives the agent.
//!
//! ```text
//! agent ─spawns→ keeper ─spawns→ launch, which becomes the app
//!   ↑               │ lock, state.json, log
//!   └──── adopts ───┘ (an agent that starts again)
//! ```

pub mod account;
pub mod asked;
pub mod end;
pub mod errand;
pub mod keeper;
pub mod launch;
pub mod log;
pub mod managers;
pub mod owed;
pub mod own_package;
pub mod pm2;
pub mod proc;
pub mod run_directory;
pub mod signals;
pub mod spec;
pub mod standing;
pub mod static_files;
pub mod supervise;
pub mod systemd;
