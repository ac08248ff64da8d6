//! Room on the disk. The journal is often on the same one, and a coordinator that cannot
//! write its journal ends: artifacts leave room for it.

use std::path::Path;

use fleet_proto::quantity::Bytes;

use super::error::{ArtifactError, file};

/// Millions of events, and their snapshots.
const RESERVE_MAX: u64 = 1 << 30;
/// Of a small disk a twentieth is kept.
const RESERVE_SHARE: u64 = 20;

pub(super) fn must_be_there(directory: &Path, needed: u64) -> Result<(), ArtifactError> {
    let disk =
        nix::sys::statvfs::statvfs(directory).map_err(|errno| file("measure", directory)(errno.into()))?;
    let unit = disk.fragment_size();
    must_fit(
        needed,
        disk.blocks_available().saturating_mul(unit),
        disk.blocks().saturating_mul(unit),
    )
}

fn must_fit(needed: u64, free: u64, total: u64) -> Result<(), ArtifactError> {
    let reserve = (total / RESERVE_SHARE).min(RESERVE_MAX);
    if needed.saturating_add(reserve) <= free {
        return Ok(());
    }
    Err(ArtifactError::NoRoom {
        needed: Bytes(needed),
        free: Bytes(free),
        reserve: Bytes(reserve),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn artifacts_leave_room_for_the_journal() {
        let gib = 1 << 30;
        must_fit(9 * gib, 10 * gib, 100 * gib).unwrap();
        let error = must_fit(9 * gib + 1, 10 * gib, 100 * gib).unwrap_err();
        let expected = "10GiB are free on the coordinator's disk, of which 1GiB are kept";
        assert!(error.to_string().contains(expected), "{error}");
        // A small disk: a twentieth, not all of it.
        must_fit(94, 100, 100).unwrap();
        must_fit(96, 100, 100).unwrap_err();
        must_fit(u64::MAX, 100, 100).unwrap_err();
    }
}
