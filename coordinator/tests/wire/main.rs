//! The coordinator over real mutual TLS, on loopback: who gets in, who does not, and
//! what a session, an upload and a certificate live through.

#![expect(clippy::unwrap_used, reason = "a failed test says where")]

mod coordinator;
mod doors;
mod enrolment;
mod hostile;
#[path = "../../../tests/support/log.rs"]
mod log;
mod pods;
mod questions;
mod releases;
mod sessions;
mod web;
