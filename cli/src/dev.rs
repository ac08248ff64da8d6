//! `fleetctl dev`: a whole fleet on this machine, as an ordinary user. Real processes,
//! real certificates, nothing pretended.
//!
//! ```text
//!  DIR/coordinator/     what `fleet-coordinator init` makes
//!     /keys/            the release key
//!     /nodes/n01/       agent.toml, state
//!     /app/v1.0.0/      the sample app, three times: good, good, sick
//!     /logs/            what each process wrote
//!     /env              for `. DIR/env`; written last, so it says that all is ready
//! ```

pub mod ask;
pub mod binaries;
pub mod fleet;
pub mod layout;
pub mod node;
pub mod ports;
pub mod process;
pub mod sample;
pub mod story;
pub mod stray;
