//! A release's migrations, on the node that was chosen for them.
//!
//! ```text
//! Prepare  status (applied already? then it is done) → backup, kept and uploaded
//!          ── the ledger says that it is begun ──
//! Run      up → verify                     (or down, contract, status)
//! FindOut  the end that the errand has written down; else nobody knows
//! ```
//!
//! What changes a database is run once. Everything else may be run again.

mod backup;
mod upload;

use std::collections::BTreeMap;

use fleet_proto::ids::RolloutNumber;
use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::{Migrations, ReleaseRef};
use fleet_proto::session::{Failure, FailureClass};

use super::converge::{Converge, Target, describe};
use super::{Failed, chain, failure};
use crate::boundary::{Boundary, boundary};
use crate::crew::LOG_LINES;
use crate::install::migrate::ends::{self, Follows, Witness};
use crate::install::{MigrationPart, MigrationWork, Outcome};
use crate::link::Reach;
use crate::process::end::End;
use crate::process::errand::{self, Errand, Task};
use crate::secrets::kept::EnvFrom;
use crate::slots::Slots;
use crate::template::Words;

/// What was found out or done: how it stands, and what went wrong.
type Stand = (MigrationStand, Option<Failed>);

struct Job {
    converge: Converge,
    release: ReleaseRef,
    migrations: Migrations,
    words: Words,
    env: BTreeMap<String, String>,
    env_from: Option<EnvFrom>,
    home: String,
    order: (RolloutNumber, u32),
    reach: Reach,
}

/// Blocks for as long as the commands take.
pub fn migrate(
    converge: &Converge,
    reach: Reach,
    work: &MigrationWork,
    order: (RolloutNumber, u32),
) -> Outcome {
    let job = match Job::of(converge, reach, work, order) {
        Ok(job) => job,
        Err(failure) => return outcome((stand_before(work.part), Some(failure))),
    };
    match work.part {
        MigrationPart::Prepare => match job.prepare() {
            Ok(true) => outcome((MigrationStand::Done, None)),
            Ok(false) => Outcome::MigrationBegins,
            Err(failure) => outcome((MigrationStand::NotStarted, Some(failure))),
        },
        MigrationPart::Run => outcome(job.run(work.act)),
        MigrationPart::FindOut => outcome(job.find_out(work.act)),
    }
}

/// Where its commands cannot even be described. What was begun before may be at it still.
fn stand_before(part: MigrationPart) -> MigrationStand {
    match part {
        MigrationPart::Prepare | MigrationPart::Run => MigrationStand::NotStarted,
        MigrationPart::FindOut => MigrationStand::Unknown,
    }
}

fn outcome((stand, failure): Stand) -> Outcome {
    Outcome::Migrated {
        stand,
        failure: failure.map(|failure| *failure),
    }
}

impl Job {
    fn of(
        converge: &Converge,
        reach: Reach,
        work: &MigrationWork,
        order: (RolloutNumber, u32),
    ) -> Result<Self, Failed> {
        let release = &work.release;
        let wrong = |class, error: &dyn std::error::Error| {
            failure(class, format!("cannot migrate: {}", chain(error)))
        };
        let slots = Slots::new(&converge.layout, &converge.app);
        let slot = slots
            .open(release)
            .map_err(|error| wrong(FailureClass::Infrastructure, &error))?;
        let migrations = slot.manifest.migrations.clone().ok_or_else(|| {
            let why = format!("{release} declares no migration");
            failure(FailureClass::Release, why)
        })?;
        let target = Target {
            release: release.clone(),
            environment: work.environment.clone(),
        };
        let described = converge
            .described_beside(&target)
            .map_err(|error| wrong(error.class(), &error))?;
        let mut parts = described.parts.into_iter();
        let part = parts
            .find(|part| part.component.name == migrations.component)
            .ok_or_else(|| {
                failure(
                    FailureClass::Release,
                    "the component of its migrations is not in it",
                )
            })?;
        let words = part.words;
        let mut env =
            describe::env(&words, &part.component).map_err(|error| wrong(FailureClass::Release, &error))?;
        for (name, value) in &migrations.env {
            let value = words
                .fill(value)
                .map_err(|error| wrong(FailureClass::Release, &error))?;
            env.insert(name.clone(), value);
        }
        Ok(Self {
            converge: converge.clone(),
            release: release.clone(),
            words,
            env,
            env_from: part.spec.env_from,
            home: part.spec.home,
            order,
            reach,
            migrations,
        })
    }

    /// True when there is nothing to do.
    fn prepare(mut self) -> Result<bool, Failed> {
        if self.migrations.status.is_some() {
            let stand = self.run(MigrationAct::Status);
            boundary(Boundary::StatusAsked);
            match stand {
                (MigrationStand::Done, None) => return Ok(true),
                (_, Some(failure)) => return Err(failure),
                _ => {}
            }
        }
        if let Some(backup) = self.migrations.backup.clone() {
            let path = self.back_up(&backup)?;
            if backup.upload {
                self.upload(&path, backup.timeout)?;
            }
        }
        Ok(false)
    }

    fn run(&self, act: MigrationAct) -> Stand {
        let Some(command) = self.migrations.command(act) else {
            let why = format!("{} declares no `{act}`", self.release);
            return (
                MigrationStand::NotStarted,
                Some(failure(FailureClass::Release, why)),
            );
        };
        let ended = match self.task(act.word(), command, self.migrations.timeout) {
            // Asking changes nothing.
            Ok(task) if act == MigrationAct::Status => self.place(act.word()).run(&task),
            Ok(task) => self.place(act.word()).once(&task),
            Err(failure) => return (MigrationStand::NotStarted, Some(failure)),
        };
        match ended {
            Ok(Some(end)) => self.stand(act, &end),
            Ok(None) => self.nobody_saw(act),
            Err(error) => {
                let why = format!("{act}: {}", chain(&error));
                let stand = ends::without_an_end(error.is_before_it_began());
                (stand, Some(failure(FailureClass::Infrastructure, why)))
            }
        }
    }

    fn nobody_saw(&self, act: MigrationAct) -> Stand {
        let why = format!(
            "the migration of {} ({act}) was begun, and what ran it is gone: nobody saw its end",
            self.release
        );
        self.ask(act, Witness::Nobody, failure(FailureClass::Infrastructure, why))
    }

    /// It was ended before it came to its end.
    fn ask(&self, act: MigrationAct, witness: Witness, mut failure: Failed) -> Stand {
        let mut is_applied = None;
        if ends::is_told_by_status(act) && self.migrations.status.is_some() {
            let (stand, why) = self.run(MigrationAct::Status);
            let said = match why {
                Some(why) => why.message,
                None => {
                    is_applied = Some(stand == MigrationStand::Done);
                    let not = if is_applied == Some(true) { "" } else { "not " };
                    format!("its status says that it is {not}applied")
                }
            };
            failure.message.push_str(&format!("; {said}"));
        }
        self.follow(act, ends::by_status(act, is_applied, witness), failure)
    }

    fn find_out(&self, act: MigrationAct) -> Stand {
        let limit = self.migrations.timeout.as_duration();
        match self.place(act.word()).find(&self.id(act.word()), limit) {
            // The agent went before anything was run: it begins now.
            Ok(Some(End::NotStarted(_))) => self.run(act),
            Ok(Some(end)) => self.stand(act, &end),
            Ok(None) => self.nobody_saw(act),
            Err(error) => {
                let why = format!(
                    "nobody knows how the migration of {} ended: {}",
                    self.release,
                    chain(&error)
                );
                (
                    MigrationStand::Unknown,
                    Some(failure(FailureClass::Infrastructure, why)),
                )
            }
        }
    }

    fn stand(&self, act: MigrationAct, end: &End) -> Stand {
        let follows = ends::after(act, end);
        if act == MigrationAct::Up && follows == Follows::Verify {
            boundary(Boundary::UpEnded);
        }
        self.follow(act, follows, self.told(act.word(), end))
    }

    fn follow(&self, act: MigrationAct, follows: Follows, failure: Failed) -> Stand {
        match follows {
            Follows::Stands(stand) => (stand, None),
            Follows::Fails(stand) => (stand, Some(failure)),
            Follows::Ask => self.ask(act, Witness::Runner, failure),
            Follows::Verify => match self.verify() {
                Ok(()) => {
                    boundary(Boundary::MigrationVerified);
                    (MigrationStand::Done, None)
                }
                Err(failure) => self.take_back(failure),
            },
        }
    }

    fn verify(&self) -> Result<(), Failed> {
        let Some(command) = &self.migrations.verify else {
            return Ok(());
        };
        match self.errand("verify", command, self.migrations.timeout)? {
            End::Exited(0) => Ok(()),
            end => Err(self.told("verify", &end)),
        }
    }

    /// It was applied, and is not as it should be. Nobody runs on it yet.
    fn take_back(&self, mut failure: Failed) -> Stand {
        let Some(command) = &self.migrations.down else {
            failure.message.push_str("; what `up` has done stays");
            return (MigrationStand::Failed, Some(failure));
        };
        let ended = self
            .task("down", command, self.migrations.timeout)
            .ok()
            .and_then(|task| self.place("down").once(&task).ok())
            .flatten();
        let how = match &ended {
            Some(End::Exited(0)) => "`down` took it back".to_owned(),
            Some(end) => format!("it was to be taken back, and {}", self.told("down", end).message),
            None => "it was to be taken back, and nobody saw how that ended".to_owned(),
        };
        failure.message.push_str(&format!("; {how}"));
        (ends::after_taking_back(ended.as_ref()), Some(failure))
    }

    fn place(&self, what: &str) -> Errand {
        Errand::new(self.converge.layout.errand(&self.converge.app, what))
    }

    fn id(&self, what: &str) -> String {
        let (rollout, generation) = self.order;
        format!("{}-{generation}-{what}", rollout.0)
    }

    fn task(&self, what: &str, command: &[String], timeout: Span) -> Result<Task, Failed> {
        let mut words = self.words.clone();
        if words.backup.is_none() {
            words.backup = self.newest_backup();
        }
        let command = words
            .fill_all(command)
            .map_err(|error| failure(FailureClass::Release, format!("{what}: {error}")))?;
        tracing::info!(app = %self.converge.app, release = %self.release, what, "a migration's command");
        Ok(Task {
            id: self.id(what),
            command,
            directory: self.words.directory.clone(),
            env: self.env.clone(),
            env_from: self.env_from.clone(),
            home: self.home.clone(),
            user: self.migrations.user.clone(),
            group: None,
            timeout,
            grace: errand::GRACE,
        })
    }

    /// Of what can be done again.
    fn errand(&self, what: &str, command: &[String], timeout: Span) -> Result<End, Failed> {
        let wrong = |why: String| failure(FailureClass::Infrastructure, format!("{what}: {why}"));
        let task = self.task(what, command, timeout)?;
        let ended = self
            .place(what)
            .run(&task)
            .map_err(|error| wrong(chain(&error)))?;
        ended.ok_or_else(|| wrong("what ran it is gone".to_owned()))
    }

    /// With its last words.
    fn told(&self, what: &str, end: &End) -> Failed {
        let log_tail = self.place(what).log_tail(LOG_LINES);
        let how = end.in_words(self.limit(what));
        let last = log_tail
            .last()
            .map(|line| format!(": {}", line.trim()))
            .unwrap_or_default();
        Box::new(Failure {
            log_tail,
            ..*failure(FailureClass::Release, format!("{what} {how}{last}"))
        })
    }

    fn limit(&self, what: &str) -> Span {
        match &self.migrations.backup {
            Some(backup) if what == "backup" => backup.timeout,
            _ => self.migrations.timeout,
        }
    }
}
