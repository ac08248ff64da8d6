//! Where what is asked for is written: decided by the release that is current, and by what
//! was started for it. The question gives names, and no path.

use std::path::PathBuf;

use fleet_proto::ids::ComponentName;
use fleet_proto::release::UnitName;
use fleet_proto::session::question::{AnswerRefused, LogsWanted};
use nix::unistd::Uid;

use crate::effects::chain;
use crate::layout::Layout;
use crate::process::run_directory::RunDirectory;
use crate::process::spec::How;
use crate::process::{own_package, pm2, systemd};
use crate::slots::Slots;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A keeper's own log.
    Own(PathBuf),
    /// A file of whoever runs the component, who may have put anything there.
    Theirs {
        owner: Uid,
        path: PathBuf,
    },
    Journal {
        units: Vec<UnitName>,
        user: Option<u32>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    pub component: ComponentName,
    pub origin: Origin,
}

pub fn writers(layout: &Layout, wanted: &LogsWanted) -> Result<Vec<Writer>, AnswerRefused> {
    let mut writers = Vec::new();
    for component in components(layout, wanted)? {
        let run = RunDirectory::new(layout.run(&wanted.app, &component));
        for origin in origins(&run, &component)? {
            let writer = Writer {
                component: component.clone(),
                origin,
            };
            writers.push(writer);
        }
    }
    if writers.is_empty() {
        return Err(absent(
            format!(
                "nothing of {} writes a log here: it is files that something else serves",
                wanted.app
            ),
            None,
        ));
    }
    Ok(writers)
}

fn components(layout: &Layout, wanted: &LogsWanted) -> Result<Vec<ComponentName>, AnswerRefused> {
    let app = &wanted.app;
    let slots = Slots::new(layout, app);
    let current = slots.current().and_then(|current| slots.all().remove(&current));
    let Some(slot) = current else {
        let apps: Vec<String> = layout.apps_on_disk().iter().map(ToString::to_string).collect();
        let hint = (!apps.is_empty()).then(|| format!("here are: {}", apps.join(", ")));
        return Err(absent(format!("no release of {app} is on this node"), hint));
    };
    let has = slot
        .manifest
        .components
        .into_iter()
        .map(|component| component.name);
    let has: Vec<ComponentName> = has.collect();
    match &wanted.component {
        None => Ok(has),
        Some(component) => pick(component, &has, &format!("{app} {}", slot.manifest.version)),
    }
}

fn pick(
    component: &ComponentName,
    has: &[ComponentName],
    release: &str,
) -> Result<Vec<ComponentName>, AnswerRefused> {
    if has.contains(component) {
        return Ok(vec![component.clone()]);
    }
    let names: Vec<String> = has.iter().map(ToString::to_string).collect();
    Err(absent(
        format!("{release}, which runs there, has no component {component}"),
        Some(format!("it has: {}", names.join(", "))),
    ))
}

fn origins(run: &RunDirectory, component: &ComponentName) -> Result<Vec<Origin>, AnswerRefused> {
    let cannot = |why: String| AnswerRefused {
        why: format!("the log of {component} cannot be read: {why}"),
        hint: None,
        is_absent: false,
    };
    match run.spec().map(|spec| spec.how) {
        Some(How::Systemd(unit)) => {
            let user = systemd::user_of(&unit).map_err(|error| cannot(chain(&error)))?;
            let units = unit.units;
            Ok(vec![Origin::Journal { units, user }])
        }
        Some(How::Pm2(pm2)) => {
            let (owner, logs) = pm2::logs(&pm2).map_err(|error| cannot(chain(&error)))?;
            let theirs = logs.into_iter().map(|path| Origin::Theirs { owner, path });
            Ok(theirs.collect())
        }
        Some(How::Agent(_)) => Ok(vec![Origin::Journal {
            units: own_package::service::units(),
            user: None,
        }]),
        Some(How::Static(_)) => Ok(vec![]),
        // Not started yet, or stopped for good: what is there is the keeper's.
        Some(How::Supervise(_)) | None => Ok(vec![Origin::Own(run.log())]),
    }
}

fn absent(why: String, hint: Option<String>) -> AnswerRefused {
    AnswerRefused {
        why,
        hint,
        is_absent: true,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_release_has_is_read() {
        let has: Vec<ComponentName> = ["api", "web"].map(|name| name.parse().unwrap()).into();
        assert_eq!(pick(&has[1], &has, "shop v1").unwrap(), has[1..]);
        let refused = pick(&"db".parse().unwrap(), &has, "shop v1").unwrap_err();
        assert_eq!(refused.why, "shop v1, which runs there, has no component db");
        assert_eq!(refused.hint.unwrap(), "it has: api, web");
        assert!(refused.is_absent);
    }

    #[test]
    fn an_app_that_is_not_here_has_no_log() {
        let state = tempfile::tempdir().unwrap();
        let layout = Layout::new(state.path());
        std::fs::create_dir_all(state.path().join("apps/shop")).unwrap();
        let wanted = LogsWanted {
            app: "till".parse().unwrap(),
            component: None,
            since: None,
            lines: 10,
            follow: false,
        };
        let refused = writers(&layout, &wanted).unwrap_err();
        assert_eq!(refused.why, "no release of till is on this node");
        assert_eq!(refused.hint.unwrap(), "here are: shop");
    }
}
