//! Hooks that have still to be run of what runs, or lies there: `hooks.json`, beside its
//! spec. Durable, for managers start processes again after a boot, and the agent has to know
//! that they have hooks.

use std::collections::BTreeSet;

use fleet_proto::digest::Digest;
use fleet_proto::release::HookName;
use serde::{Deserialize, Serialize};

use super::proc;
use super::run_directory::RunDirectory;
use super::spec::How;
use crate::durable::{self, FileError, failed};

const FILE: &str = "hooks.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owed {
    /// Whose processes they are about.
    boot: String,
    spec: Digest,
    hooks: BTreeSet<HookName>,
}

impl RunDirectory {
    /// Of a process that was started with this. Where its manager has started it again after a
    /// boot, that is all that follows from a start.
    pub fn owed(&self, spec: Digest, how: &How) -> BTreeSet<HookName> {
        let Some(owed) = self.read::<Owed>(FILE).filter(|owed| owed.spec == spec) else {
            return BTreeSet::new();
        };
        let is_started_anew = !proc::is_this_boot(&owed.boot) && !matches!(how, How::Static(_));
        if is_started_anew {
            return BTreeSet::from([HookName::PostStart, HookName::Undrain]);
        }
        owed.hooks
    }

    /// Whether anything was ever written down of it.
    pub fn is_accounted(&self, spec: Digest) -> bool {
        self.read::<Owed>(FILE).is_some_and(|owed| owed.spec == spec)
    }

    pub fn owe(&self, spec: Digest, hooks: BTreeSet<HookName>) -> Result<(), FileError> {
        let owed = Owed {
            boot: proc::boot_id(),
            spec,
            hooks,
        };
        if self.read::<Owed>(FILE).as_ref() == Some(&owed) {
            return Ok(());
        }
        let path = self.path().join(FILE);
        let bytes = serde_json::to_vec(&owed).map_err(|error| failed("encode", &path)(error.into()))?;
        durable::replace(&path, &bytes, 0o600)
    }

    pub fn owe_nothing(&self) -> Result<(), FileError> {
        durable::remove(&self.path().join(FILE))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_that_of_one_process_in_one_boot() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        let (spec, other) = (Digest::of(b"spec"), Digest::of(b"another"));
        let supervised = serde_json::json!({
            "by": "supervise", "command": [], "stop_signal": "SIGTERM", "grace": "1s",
        });
        let supervised: How = serde_json::from_value(supervised).unwrap();
        let link = serde_json::json!({ "by": "static", "root": "/srv/shop", "slots": "/slots" });
        let link: How = serde_json::from_value(link).unwrap();
        let none = BTreeSet::new();
        let undrain = BTreeSet::from([HookName::Undrain]);
        let all = BTreeSet::from([HookName::PostStart, HookName::Undrain]);
        assert_eq!(run.owed(spec, &supervised), none);
        assert!(!run.is_accounted(spec));
        run.owe(spec, undrain.clone()).unwrap();
        assert_eq!(run.owed(spec, &supervised), undrain);
        assert_eq!(run.owed(other, &supervised), none);
        // Its manager has started it again since; files have been lying there.
        let text = std::fs::read_to_string(directory.path().join(FILE)).unwrap();
        let earlier = text.replace(&proc::boot_id(), "an-earlier-boot");
        std::fs::write(directory.path().join(FILE), earlier).unwrap();
        assert_eq!(run.owed(spec, &supervised), all);
        assert_eq!(run.owed(spec, &link), undrain);
        run.owe(spec, none.clone()).unwrap();
        assert_eq!(run.owed(spec, &supervised), none);
        assert!(run.is_accounted(spec));
        run.owe_nothing().unwrap();
        assert!(!run.is_accounted(spec));
    }
}
