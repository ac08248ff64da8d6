//! The coordinator: plans waves, keeps the journal, streams commands to agents.
//!
//! ```text
//!  main -> agents · operators · web -> driver -> journal · artifacts -> rollout
//! ```
//!
//! Everything on the left may use what is on its right and nothing else does; `rollout`
//! is pure. A test keeps this true.

pub mod access;
pub mod agents;
pub mod artifacts;
pub mod backups;
pub mod caller;
pub mod clusters;
pub mod config;
pub mod driver;
pub mod durable;
pub mod health;
pub mod init;
pub mod journal;
pub mod listener;
pub mod operators;
pub mod owner;
pub mod questions;
pub mod refusal;
pub mod rollout;
pub mod serve;
pub mod service;
pub mod trust;
pub mod web;
