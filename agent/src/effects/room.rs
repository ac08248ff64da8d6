//! Room on the disk: what a fetch may take, and what it has to leave to others.

use std::path::PathBuf;
use std::sync::Arc;

use fleet_proto::quantity::Bytes;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::FailureClass;

use super::{Failed, failure};
use crate::facts;

/// How much is free where the state lies. A question to the world, as the time is.
#[derive(Clone)]
pub struct Disk(Arc<dyn Fn() -> Bytes + Send + Sync>);

impl Disk {
    pub fn of(path: PathBuf) -> Self {
        Self::with(move || facts::disk_free(&path))
    }

    pub fn with(free: impl Fn() -> Bytes + Send + Sync + 'static) -> Self {
        Self(Arc::new(free))
    }

    pub fn free(&self) -> Bytes {
        (self.0)()
    }
}

/// The room for one release. It is asked for again and again while the release comes:
/// the disk has other users, and what was free at the beginning need not be later.
#[derive(Clone)]
pub struct Room {
    pub disk: Disk,
    /// To be left free whatever happens: the app that runs needs it.
    pub reserve: Bytes,
    pub release: ReleaseRef,
}

impl Room {
    /// For so many bytes more, beside the reserve.
    pub fn must_hold(&self, bytes: u64) -> Result<(), Failed> {
        let free = self.disk.free();
        let needed = Bytes(bytes.saturating_add(self.reserve.0));
        if free >= needed {
            return Ok(());
        }
        let mut failure = failure(
            FailureClass::Infrastructure,
            format!(
                "the disk is too small for {}: {free} are free, {needed} are needed ({} of it to be left free)",
                self.release, self.reserve
            ),
        );
        failure.figure = Some(free.to_string());
        failure.limit = Some(needed.to_string());
        Err(failure)
    }
}
