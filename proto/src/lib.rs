//! What coordinator, agent and `fleetctl` must agree on.
//!
//! ```text
//!  words      ids · version · digest · time · quantity · labels · waves
//!  releases   release (signed manifest) · tree (its files) · signing
//!  wire       fleet/v1/*.proto → wire; session (commands and reports as domain types)
//!  trust      identity (who) · authority (who says so) · tls (how it is proven) · token ·
//!             service_account (a pod, by the word of its cluster) · jwt
//!             role (what an operator may) · access_token (one without a certificate)
//!  documents  view (what people and dashboards read) · config (how files are read) ·
//!             exposition (figures as text)
//! ```
//!
//! Nothing here decides anything: decisions live in the coordinator's `rollout`
//! and in the agent's `install`.

pub mod access_token;
pub mod authority;
pub mod config;
pub mod digest;
pub mod exposition;
pub mod fence;
pub mod identity;
pub mod ids;
pub mod jwt;
pub mod labels;
pub mod migration;
pub mod quantity;
pub mod release;
pub mod role;
pub mod service_account;
pub mod session;
pub mod signing;
pub mod time;
pub mod tls;
pub mod token;
pub mod tree;
pub mod version;
pub mod view;
pub mod waves;
pub mod wire;

/// The protocol's own version. One minor version behind or ahead works; see [`version::protocol_fits`].
pub const PROTOCOL: version::Protocol = version::Protocol { major: 1, minor: 0 };
