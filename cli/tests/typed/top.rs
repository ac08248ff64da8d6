//! `fleetctl top`: pictures of fleets as they are drawn, and what keys do to them.

mod fleets;
mod keys;
mod pictures;
