//! `fleetctl` as it is typed and read: one binary, so that it links once.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

mod coordinator;
mod drift;
mod following;
mod logs;
mod mistakes;
mod packing;
mod rendering;
mod renewing;
mod support;
mod top;
mod verbs;
mod views;
