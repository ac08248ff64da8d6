//! Whole fleets of real processes, for tests: a coordinator, agents and apps on
//! loopback, in a temporary directory, gone when the test is.

pub mod chance;
pub mod fleet;
pub mod forwarder;
pub mod fuzz;
pub mod host;
pub mod hosts;
pub mod layers;
pub mod monitoring;
pub mod pod;
pub mod port;
pub mod power;
pub mod process;
pub mod sample;
pub mod scenario;
pub mod sim;
pub mod terminal;
pub mod vault;
pub mod wait;
