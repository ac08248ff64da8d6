//! A component's units against what was installed and started for them. Only looked at.

use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::release::UnitName;
use fleet_proto::session::drift::Drifted;

use super::bus::{self, UnitState};
use super::{DROP_IN, SystemdError, UnitSpec, unit_file};

/// Of one unit or one file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitDrift {
    pub what: Drifted,
    pub subject: String,
    pub expected: String,
    pub found: String,
    /// A file that says that Fleet has put it there.
    pub is_ours: bool,
}

pub fn drift(unit: &UnitSpec) -> Result<Vec<UnitDrift>, SystemdError> {
    let manager = unit.manager()?;
    let mut found = files(unit, &manager.units);
    for (name, state) in manager.look(&unit.units)? {
        let one = |what, expected: &str, found: &str| UnitDrift {
            what,
            subject: name.to_string(),
            expected: expected.to_owned(),
            found: found.to_owned(),
            is_ours: true,
        };
        let UnitState {
            load, needs_reload, ..
        } = &state;
        if load == "masked" {
            found.push(one(Drifted::UnitMasked, "loaded", load));
            continue;
        }
        if *needs_reload {
            found.push(one(
                Drifted::UnitNotRead,
                "as on the disk",
                "as it was read before",
            ));
        }
        if unit.file.is_some() {
            let file_state = bus::wait(manager.bus.clone().file_state(name.clone()), &|| false)?;
            if let Some(disabled) = file_state.filter(|state| state == "disabled") {
                found.push(one(Drifted::UnitDisabled, "enabled", &disabled));
            }
        }
    }
    Ok(found)
}

/// What was installed, and what lies beside it where the release brings the unit: what is
/// beside a unit of the node's own is the node's.
fn files(unit: &UnitSpec, units: &Path) -> Vec<UnitDrift> {
    let mut found = Vec::new();
    for (name, text) in unit.files() {
        let path = units.join(name);
        let one = |what, found: String, is_ours| UnitDrift {
            what,
            subject: path.display().to_string(),
            expected: short(text.as_bytes()),
            found,
            is_ours,
        };
        match std::fs::read(&path) {
            Ok(there) if there == text.as_bytes() => {}
            Ok(there) => {
                let is_ours = unit_file::is_of_this_app(&String::from_utf8_lossy(&there), text);
                found.push(one(Drifted::UnitChanged, short(&there), is_ours));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                found.push(one(Drifted::UnitMissing, "nothing".to_owned(), true));
            }
            Err(error) => found.push(one(Drifted::UnitChanged, error.to_string(), false)),
        }
    }
    if unit.file.is_some() {
        found.extend(beside(unit, units).into_iter().map(|path| UnitDrift {
            what: Drifted::UnitAdded,
            subject: path.display().to_string(),
            expected: "nothing".to_owned(),
            found: "a drop-in".to_owned(),
            is_ours: false,
        }));
    }
    found
}

fn beside(unit: &UnitSpec, units: &Path) -> Vec<PathBuf> {
    let mut names: Vec<&str> = unit.units.iter().map(UnitName::as_str).collect();
    names.push(unit.name.as_str());
    names.sort_unstable();
    names.dedup();
    let directories = names.iter().map(|name| units.join(format!("{name}.d")));
    let entries = directories.flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten());
    let paths = entries.flatten().map(|entry| entry.path());
    let is_drop_in = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "conf")
            && path.file_name().is_some_and(|name| name != DROP_IN)
    };
    paths.filter(is_drop_in).collect()
}

fn short(text: &[u8]) -> String {
    let digest: String = Digest::of(text).to_string().chars().take(12).collect();
    format!("{digest}, {} bytes", text.len())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::release::OnChange;

    #[test]
    fn what_was_installed_is_held_against_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let unit = UnitSpec {
            name: "shop@.service".parse().unwrap(),
            units: vec!["shop@1.service".parse().unwrap()],
            user: None,
            on_change: OnChange::Restart,
            file: Some("[Service]\n".to_owned()),
            drop_in: Some("[Service]\nA=1\n".to_owned()),
        };
        let found = |unit: &UnitSpec| {
            let found = files(unit, directory.path()).into_iter();
            found.map(|drift| drift.what).collect::<Vec<_>>()
        };
        assert_eq!(found(&unit), [Drifted::UnitMissing, Drifted::UnitMissing]);
        let path = |name: &str| directory.path().join(name);
        for name in ["shop@.service.d", "shop@1.service.d"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("shop@.service"), "[Service]\n").unwrap();
        std::fs::write(path("shop@.service.d/50-fleet.conf"), "[Service]\nA=1\n").unwrap();
        assert_eq!(found(&unit), []);
        std::fs::write(path("shop@.service"), "[Service]\nUser=root\n").unwrap();
        std::fs::write(path("shop@1.service.d/override.conf"), "").unwrap();
        std::fs::write(path("shop@1.service.d/override.conf~"), "").unwrap();
        assert_eq!(found(&unit), [Drifted::UnitChanged, Drifted::UnitAdded]);
        // Of the node's own, only what Fleet has added is Fleet's.
        let own = UnitSpec { file: None, ..unit };
        assert_eq!(found(&own), []);
    }
}
