//! Processes: each component has a keeper of its own, a small process that is the
//! app's parent and outlives the agent.
//!
//! ```text
//! agent ─spawns→ keeper ─spawns→ launch, which becomes the app
//!   ↑               │ lock, state.json, log
//!   └──── adopts ───┘ (an agent that starts again)
//! ```

pub mod keeper;
pub mod launch;
pub mod log;
pub mod managers;
pub mod proc;
pub mod run_directory;
pub mod spec;
pub mod standing;
pub mod supervise;
