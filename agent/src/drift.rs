//! What on this node is not as Fleet left it: looked at when somebody asks, and only looked at.
//! One look at a time, and with pauses: the node is there for its apps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::drift::{DriftReport, DriftWanted, Drifted, FINDINGS_MAX, Finding};

use crate::config::Config;
use crate::effects::chain;
use crate::effects::converge::{Converge, Part, Started};
use crate::layout::Layout;
use crate::ledger::{AppRecord, Ledger};
use crate::process::managers::Managers;
use crate::process::spec::How;
use crate::process::standing::glance;
use crate::process::{pm2, systemd};
use crate::slots::Slots;
use crate::slots::compare::{Difference, Kind};

/// Below what a finding may take, with the command before it.
const PASTED_BYTES_MAX: usize = 200;
/// Shorter than what the coordinator waits.
const LOOK_WITHIN: Duration = Duration::from_secs(60);
/// Between pauses that are as long as the work before them: half of a core at most.
const WORK_BYTES: u64 = 4 << 20;
/// A path or an error is for a line on a screen.
const TEXT_CHARS_MAX: usize = 300;
const UNKNOWN_MAX: usize = 64;

/// What a look needs to know.
pub struct Look {
    pub config: Arc<Config>,
    pub layout: Layout,
    pub ledger: Ledger,
}

/// Blocks, for a minute at most; ends at once when nobody wants it any more.
pub fn look(look: &Look, wanted: &DriftWanted, is_wanted: &dyn Fn() -> bool) -> DriftReport {
    let mut looking = Looking {
        look,
        is_wanted,
        until: Instant::now() + LOOK_WITHIN,
        read: 0,
        worked_from: Instant::now(),
        report: DriftReport::default(),
    };
    let apps = look.ledger.apps.iter();
    for (app, record) in apps.filter(|(app, _)| wanted.app.as_ref().is_none_or(|wanted| wanted == *app)) {
        looking.app(app, record);
    }
    looking.report
}

struct Looking<'a> {
    look: &'a Look,
    is_wanted: &'a dyn Fn() -> bool,
    until: Instant,
    /// Since the last pause.
    read: u64,
    worked_from: Instant,
    report: DriftReport,
}

/// Of what a finding is.
struct Subject<'a> {
    app: &'a AppName,
    component: Option<&'a ComponentName>,
    release: &'a ReleaseRef,
}

impl Looking<'_> {
    fn app(&mut self, app: &AppName, record: &AppRecord) {
        if let Some(step) = record.step.as_ref().filter(|step| !step.phase.is_settled()) {
            self.unknown(&format!("{app} is in the middle of a step ({})", step.phase));
            return;
        }
        let Some(installed) = &record.current else {
            return;
        };
        let release = &installed.release;
        let subject = Subject {
            app,
            component: None,
            release,
        };
        let current = Slots::new(&self.look.layout, app).current();
        if current != Some(release.digest) {
            let found = current.map_or_else(|| "nothing".to_owned(), |digest| short(&digest.to_string()));
            let link = self.look.layout.current(app).display().to_string();
            let mend = self.start_anew("");
            let expected = short(&release.digest.to_string());
            self.found(&subject, Drifted::OtherRelease, link, expected, found, mend);
        }
        let converge = Converge {
            config: self.look.config.clone(),
            layout: self.look.layout.clone(),
            app: app.clone(),
            managers: Managers::of_this_node(),
            gate: Arc::default(),
        };
        match converge.described(&installed.into()) {
            Ok(started) => self.release(&subject, &started),
            Err(error) => self.unknown(&format!("{app}: {}", chain(&error))),
        }
    }

    fn release(&mut self, subject: &Subject<'_>, started: &Started) {
        for part in &started.parts {
            let subject = Subject {
                component: Some(&part.component.name),
                ..*subject
            };
            self.files(&subject, started, part);
            // Nothing is to run on a drained node, and nothing of a unit is to be enabled.
            if !self.look.ledger.service.drained {
                self.process(&subject, part);
                self.manager(&subject, part);
            }
        }
    }

    fn files(&mut self, subject: &Subject<'_>, started: &Started, part: &Part) {
        let mut differences = Vec::new();
        let mut more = 0;
        let looked = started.slot.differences(
            &part.component,
            &mut |bytes| self.has_time_for(bytes),
            &mut |difference| match differences.len() < FINDINGS_MAX {
                true => differences.push(difference),
                false => more += 1,
            },
        );
        if let Err(incomplete) = looked {
            self.unknown(&format!(
                "files of {} of {}: {incomplete}",
                part.component.name, subject.app
            ));
        }
        self.report.more += more;
        let files = started.slot.files(&part.component.name);
        for Difference {
            path,
            kind,
            expected,
            found,
        } in differences
        {
            let path = files.join(path).display().to_string();
            let (what, mend) = match kind {
                Kind::Changed => (Drifted::FileChanged, lay_out_anew(subject)),
                Kind::Missing => (Drifted::FileMissing, lay_out_anew(subject)),
                Kind::Added => (Drifted::FileAdded, by_hand("rm -r", &path)),
                Kind::Mode => {
                    let mend = by_hand(&format!("chmod {expected}"), &path);
                    (Drifted::ModeChanged, mend)
                }
            };
            self.found(subject, what, path, expected, found, mend);
        }
    }

    fn process(&mut self, subject: &Subject<'_>, part: &Part) {
        let wanted = part.spec.fingerprint();
        let process = || format!("the process of {}", part.component.name);
        let standing = glance(&part.run);
        if let (How::Static(link), standing) = (&part.spec.how, &standing) {
            if !standing
                .as_ref()
                .is_some_and(|standing| standing.is_up && standing.spec == wanted)
            {
                let root = link.root.display().to_string();
                let found = match std::fs::read_link(&link.root) {
                    Ok(target) => target.display().to_string(),
                    Err(_) if link.root.symlink_metadata().is_ok() => "no link".to_owned(),
                    Err(_) => "nothing".to_owned(),
                };
                let mend = self.start_anew(&format!("on the node: mv '{root}' '{root}.old'; then: "));
                let expected = part.spec.directory.display().to_string();
                self.found(subject, Drifted::LinkElsewhere, root, expected, found, mend);
            }
            return;
        }
        let mend = self.start_anew("");
        match standing {
            None => {
                let found = "nothing".to_owned();
                self.found(
                    subject,
                    Drifted::Stopped,
                    process(),
                    "runs".to_owned(),
                    found,
                    mend,
                );
            }
            Some(standing) if !standing.is_up => {
                let found = standing.last_exit.unwrap_or_else(|| "it does not run".to_owned());
                self.found(
                    subject,
                    Drifted::Stopped,
                    process(),
                    "runs".to_owned(),
                    found,
                    mend,
                );
            }
            Some(standing) if standing.spec != wanted => {
                let lives = part.run.spec().map(|spec| spec.directory.display().to_string());
                let found = format!(
                    "{}, started in {}",
                    short(&standing.spec.to_string()),
                    lives.unwrap_or_else(|| "a place that is not known".to_owned())
                );
                let expected = short(&wanted.to_string());
                self.found(subject, Drifted::OtherProcess, process(), expected, found, mend);
            }
            Some(_) => {}
        }
    }

    /// What its manager knows of it beside that it runs. By what was started, for that is what
    /// Fleet left.
    fn manager(&mut self, subject: &Subject<'_>, part: &Part) {
        let Some(lives) = part.run.spec() else { return };
        match &lives.how {
            How::Supervise(_) | How::Static(_) | How::Agent(_) => {}
            How::Systemd(unit) => match systemd::drift::drift(unit) {
                Ok(found) => {
                    for drift in found {
                        let mend = self.mend_unit(&drift);
                        self.found(
                            subject,
                            drift.what,
                            drift.subject,
                            drift.expected,
                            drift.found,
                            mend,
                        );
                    }
                }
                Err(error) => self.unknown(&format!("{}: {}", part.component.name, chain(&error))),
            },
            How::Pm2(pm2) => match pm2::elsewhere(pm2, &lives.directory) {
                Ok(found) => {
                    for (name, directory) in found {
                        let (expected, found) = (&lives.directory, &directory);
                        let (expected, found) = (expected.display().to_string(), found.display().to_string());
                        let mend = self.start_anew("");
                        self.found(subject, Drifted::OtherDirectory, name, expected, found, mend);
                    }
                }
                Err(error) => self.unknown(&format!("{}: {}", part.component.name, chain(&error))),
            },
        }
    }

    fn mend_unit(&self, drift: &systemd::drift::UnitDrift) -> String {
        let subject = &drift.subject;
        match drift.what {
            // A unit that is loaded and has no file cannot be disabled, and so not be drained.
            Drifted::UnitMissing => self.start_anew("on the node: systemctl daemon-reload; then: "),
            Drifted::UnitMasked => {
                self.start_anew(&format!("on the node: systemctl unmask {subject}; then: "))
            }
            Drifted::UnitAdded => self.start_anew(&format!("on the node: rm '{subject}'; then: ")),
            // One that does not say any more that it is Fleet's is not replaced.
            Drifted::UnitChanged if !drift.is_ours => {
                self.start_anew(&format!("on the node: rm '{subject}'; then: "))
            }
            _ => self.start_anew(""),
        }
    }

    /// Whatever is stopped and started is installed and linked anew before it starts.
    fn start_anew(&self, first: &str) -> String {
        let node = &self.look.config.node;
        format!("{first}fleetctl node drain {node}, and when it is drained: fleetctl node undrain {node}")
    }

    fn found(
        &mut self,
        subject: &Subject<'_>,
        what: Drifted,
        of: String,
        expected: String,
        found: String,
        mend: String,
    ) {
        if self.report.findings.len() >= FINDINGS_MAX {
            self.report.more += 1;
            return;
        }
        let text = |text: String| crate::process::log::harmless_until(&text, TEXT_CHARS_MAX);
        self.report.findings.push(Finding {
            app: subject.app.clone(),
            component: subject.component.cloned(),
            what,
            subject: text(of),
            expected: text(expected),
            found: text(found),
            mend: text(mend),
        });
    }

    fn unknown(&mut self, why: &str) {
        if self.report.unknown.len() < UNKNOWN_MAX {
            let why = crate::process::log::harmless_until(why, TEXT_CHARS_MAX);
            self.report.unknown.push(why);
        }
    }

    /// Rests as long as it has worked.
    fn has_time_for(&mut self, bytes: u64) -> bool {
        self.read += bytes.max(4096);
        if self.read >= WORK_BYTES {
            std::thread::sleep(self.worked_from.elapsed().min(Duration::from_secs(1)));
            (self.read, self.worked_from) = (0, Instant::now());
        }
        Instant::now() < self.until && (self.is_wanted)()
    }
}

/// Nothing is laid out under what runs. A node that comes to a release looks at its files, and
/// fetches those that are not as they were signed.
fn lay_out_anew(subject: &Subject<'_>) -> String {
    let version = &subject.release.version;
    format!("fleetctl rollout another release, and then: fleetctl rollout {version}")
}

/// To be pasted into a shell, so only with a name that says what it seems to say: whoever may
/// write beside an app chooses it.
fn by_hand(command: &str, path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,:=".contains(c);
    match path.len() <= PASTED_BYTES_MAX && path.chars().all(is_plain) {
        true => format!("on the node: {command} {path}"),
        false => "on the node, by hand: its name is not one to be pasted into a shell".to_owned(),
    }
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
