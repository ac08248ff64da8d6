//! Slots in which processes live. A component that no later release has changed keeps
//! its process, and that goes on in the slot from which it was started: its working
//! directory and its open files are there, and there its keeper starts it again when it
//! ends. The slot stays for as long; that is at most one more a component than the good
//! releases. Whoever has to start the component anew (after a boot, or a stop of the app)
//! starts it from the current slot.

use std::collections::BTreeMap;

use fleet_proto::digest::Digest;
use fleet_proto::ids::ComponentName;
use fleet_proto::release::ReleaseRef;

use super::Slots;
use crate::process::run_directory::RunDirectory;
use crate::process::standing::glance;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    pub by_slot: BTreeMap<Digest, Vec<ComponentName>>,
    /// They run, and nothing says from where: as while they are being stopped.
    pub unknown: Vec<ComponentName>,
}

impl InUse {
    /// What is not known might be anywhere.
    pub fn needs(&self, slot: &Digest) -> bool {
        !self.unknown.is_empty() || self.by_slot.contains_key(slot)
    }

    pub fn by(&self, slot: &Digest) -> &[ComponentName] {
        self.by_slot.get(slot).map_or(&[], Vec::as_slice)
    }
}

impl Slots {
    pub fn in_use(&self) -> InUse {
        let mut in_use = InUse::default();
        for component in self.layout.runs_on_disk(&self.app) {
            let run = RunDirectory::new(self.layout.run(&self.app, &component));
            if glance(&run).is_none() {
                continue;
            }
            match run.spec() {
                Some(spec) => in_use.by_slot.entry(spec.release).or_default().push(component),
                None => in_use.unknown.push(component),
            }
        }
        in_use
    }

    pub fn in_use_releases(&self) -> Vec<ReleaseRef> {
        let in_use = self.in_use();
        let slots = self.all().into_iter();
        slots
            .filter(|(digest, _)| in_use.by_slot.contains_key(digest))
            .map(|(digest, slot)| ReleaseRef {
                version: slot.manifest.version,
                digest,
            })
            .collect()
    }
}
