//! One node: the agent's real record and rules; what its effects come to is its fate.

use std::collections::BTreeMap;

use fleet_agent::install::{Answer, MigrationPart, MigrationWork, Outcome, Purpose};
use fleet_agent::ledger::{AppRecord, Ledger};
use fleet_proto::ids::AppName;
use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{
    AppStatus, Command, Failure, FailureClass, Health, HistoryCause, Order, Phase, Refusal, Service,
    ServiceStatus,
};
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;

/// How an attempt ends badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Absent: of every release.
    pub version: Option<Version>,
    pub phase: Phase,
    pub message: String,
    /// How long the phase has lasted by then.
    pub after: Span,
    /// Until then, and for ever, nothing comes of the phase.
    pub hangs: bool,
}

#[derive(Debug, Default)]
pub struct SimNode {
    pub connected: bool,
    pub ledger: Ledger,
    pub fates: Vec<Fate>,
    /// What runs is not well, whatever it is.
    pub ill: Option<String>,
    /// What a migration's status command answers here.
    pub database: Option<MigrationStand>,
    /// When each app came into the phase that it is in.
    since: BTreeMap<AppName, (Phase, Timestamp)>,
    counters: BTreeMap<Version, u64>,
}

impl SimNode {
    pub fn new(counters: BTreeMap<Version, u64>) -> Self {
        Self {
            counters,
            ..Self::default()
        }
    }

    pub fn learn(&mut self, version: Version, counter: u64) {
        self.counters.insert(version, counter);
    }

    /// Takes an order; a refusal is what goes back, if it is one.
    pub fn take(&mut self, command: &Command) -> Option<Refusal> {
        let record = self.ledger.apps.entry(command.app.clone()).or_default();
        let running = record.current_release().cloned();
        if command.order == Order::Commit && self.hangs(running.as_ref(), Phase::Done) {
            return None;
        }
        let record = self.ledger.apps.entry(command.app.clone()).or_default();
        match record.take(command) {
            Answer::Accepted | Answer::Repeated => None,
            Answer::Refused(why) => Some(Refusal {
                app: command.app.clone(),
                refused: command.fence,
                seen: record.fence_seen,
                why,
            }),
        }
    }

    /// Takes the word whether to serve; an older one changes nothing.
    pub fn serve_or_not(&mut self, told: Service) {
        self.ledger.take_service(told);
    }

    /// What is done at once here: processes stop without a grace.
    pub fn service(&self) -> ServiceStatus {
        let Service {
            sequence, drained, ..
        } = self.ledger.service;
        ServiceStatus { sequence, drained }
    }

    /// What happens next by itself, in each app; true when anything did.
    pub fn work(&mut self, now: Timestamp) -> bool {
        let apps: Vec<AppName> = self.ledger.apps.keys().cloned().collect();
        let mut worked = false;
        for app in apps {
            worked |= self.work_on(&app, now);
        }
        worked
    }

    fn work_on(&mut self, app: &AppName, now: Timestamp) -> bool {
        let Some(record) = self.ledger.apps.get(app).cloned() else {
            return false;
        };
        let phase = record.step.as_ref().map_or(Phase::Done, |step| step.phase);
        let since = self.since_when(app, phase, now);
        let Some(outcome) = self.outcome(&record, phase, now.since(since)) else {
            return false;
        };
        let mut record = record;
        let Ok(back) = record.settle(outcome, now) else {
            return false;
        };
        record.proceed();
        self.ledger.apps.insert(app.clone(), record);
        if let Some(back) = back.filter(|_| !self.connected) {
            let cause = HistoryCause::ByItself;
            self.ledger.record(app, back.from, back.to, cause, back.why, now);
        }
        true
    }

    fn since_when(&mut self, app: &AppName, phase: Phase, now: Timestamp) -> Timestamp {
        let since = self.since.entry(app.clone()).or_insert((phase, now));
        if since.0 != phase {
            *since = (phase, now);
        }
        since.1
    }

    fn outcome(&self, record: &AppRecord, phase: Phase, lasted: Span) -> Option<Outcome> {
        let work = record.work();
        // What can go wrong is what changes the database.
        if work
            .migrate
            .as_ref()
            .is_some_and(|migrate| migrate.part == MigrationPart::Prepare)
        {
            return Some(Outcome::MigrationBegins);
        }
        let migrates = work.migrate.as_ref().map(|migrate| &migrate.release);
        let at = work.fetch.as_ref().or(migrates).or(work.run.as_ref());
        if self.hangs(at, phase) || self.fails_later(at, phase, lasted) {
            return None;
        }
        if let Some(release) = work.fetch {
            return Some(match self.fate(&release, Phase::Fetching, lasted) {
                Some(fate) => Outcome::NotStaged {
                    failure: failure(FailureClass::Infrastructure, &fate.message),
                    release,
                },
                None => Outcome::Staged {
                    counter: self.counters.get(&release.version).copied().unwrap_or(1),
                    release,
                },
            });
        }
        if let Some(migrate) = &work.migrate {
            return Some(self.migrated(migrate));
        }
        let runs = work.run.as_ref();
        let fate = |phase| runs.and_then(|release| self.fate(release, phase, lasted));
        match work.purpose {
            Purpose::PutBack if self.ledger.service.drained => Some(Outcome::PutBack { ill: None }),
            Purpose::Smoke if self.ledger.service.drained => Some(Outcome::Smoked),
            // Nothing runs that could be judged.
            _ if self.ledger.service.drained => None,
            Purpose::Rest => None,
            Purpose::Activate => Some(Outcome::Activated),
            Purpose::Verify => Some(match fate(Phase::Verifying) {
                Some(fate) => Outcome::Failed(failure(FailureClass::Release, &fate.message)),
                None => Outcome::Verified { has_smoke: false },
            }),
            Purpose::Bake => {
                fate(phase).map(|fate| Outcome::Failed(failure(FailureClass::Release, &fate.message)))
            }
            Purpose::Smoke => Some(Outcome::Smoked),
            Purpose::PutBack => Some(Outcome::PutBack {
                ill: runs.and(self.ill.clone()).or_else(|| self.fails_again(runs?)),
            }),
        }
    }

    /// Its own release fails here, whatever it is brought for.
    fn fails_again(&self, release: &ReleaseRef) -> Option<String> {
        let mut fates = self.fates.iter();
        let own = fates.find(|fate| {
            !fate.hangs && fate.phase == Phase::Verifying && fate.version.as_ref() == Some(&release.version)
        });
        own.map(|fate| fate.message.clone())
    }

    fn hangs(&self, release: Option<&ReleaseRef>, phase: Phase) -> bool {
        let version = release.map(|release| &release.version);
        self.fates.iter().any(|fate| {
            fate.hangs && fate.phase == phase && (fate.version.is_none() || fate.version.as_ref() == version)
        })
    }

    /// Neither good nor bad before its time has come.
    fn fails_later(&self, release: Option<&ReleaseRef>, phase: Phase, lasted: Span) -> bool {
        let version = release.map(|release| &release.version);
        self.fates.iter().any(|fate| {
            let is_of_it = fate.version.is_none() || fate.version.as_ref() == version;
            !fate.hangs && fate.phase == phase && is_of_it && lasted < fate.after
        })
    }

    /// What its command says: done, unless this node or this release has another fate.
    fn migrated(&self, work: &MigrationWork) -> Outcome {
        if work.part == MigrationPart::FindOut {
            return cut_short(&work.release, work.act);
        }
        let (release, act) = (&work.release, work.act);
        if act == MigrationAct::Status {
            let stand = self.database.unwrap_or(MigrationStand::Unknown);
            let failure = (stand == MigrationStand::Unknown)
                .then(|| failure(FailureClass::Release, "its status command answers nothing"));
            return Outcome::Migrated { stand, failure };
        }
        match self.fate(release, Phase::Migrating, Span::ZERO) {
            Some(fate) => Outcome::Migrated {
                stand: MigrationStand::Failed,
                failure: Some(failure(FailureClass::Release, &fate.message)),
            },
            None => Outcome::Migrated {
                stand: MigrationStand::Done,
                failure: None,
            },
        }
    }

    /// The agent goes and comes back: what its ledger says is all that it knows.
    pub fn restart(&mut self) {
        for record in self.ledger.apps.values_mut() {
            record.recover();
        }
    }

    fn fate(&self, release: &ReleaseRef, phase: Phase, lasted: Span) -> Option<&Fate> {
        self.fates.iter().find(|fate| {
            !fate.hangs
                && fate.phase == phase
                && fate
                    .version
                    .as_ref()
                    .is_none_or(|version| *version == release.version)
                && lasted >= fate.after
        })
    }

    pub fn status(&self) -> Vec<AppStatus> {
        let drained = self.ledger.service.drained;
        let health = |record: &AppRecord| {
            if drained {
                return fleet_agent::drained::health(record.current.is_some());
            }
            let Some(runs) = record.current_release() else {
                return Health::Empty;
            };
            match self.ill.clone().or_else(|| self.fails_again(runs)) {
                Some(why) => Health::Unhealthy { why },
                None => Health::Healthy,
            }
        };
        self.ledger
            .apps
            .iter()
            .map(|(app, record)| record.status(app, health(record)))
            .collect()
    }
}

/// Of a migration that nobody saw the end of.
pub fn cut_short(release: &ReleaseRef, act: MigrationAct) -> Outcome {
    let why = format!("the agent went while the migration of {release} ran ({act}): nobody saw its end");
    Outcome::Migrated {
        stand: MigrationStand::Unknown,
        failure: Some(failure(FailureClass::Infrastructure, &why)),
    }
}

fn failure(class: FailureClass, message: &str) -> Failure {
    Failure {
        class,
        check: Some("web/health".to_owned()),
        message: message.to_owned(),
        figure: None,
        limit: None,
        log_tail: vec![],
    }
}
