//! Releases, and what is wrong with them.

use std::collections::BTreeMap;

use fleet_coordinator::rollout::event::PushRelease;
use fleet_proto::digest::Digest;
use fleet_proto::ids::AppName;
use fleet_proto::migration::{MigrationPlan, Undo};
use fleet_proto::release::{HealthRules, Platform, ReleaseRef, Strategy};

use super::dice::{Dice, mix};

/// How a release turns out, on so many of a hundred nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Good,
    CannotBeFetched,
    CrashLoops(u64),
    FailsVerification(u64),
    FailsInBake(u64),
    /// It has smoke checks, and they fail on so many.
    FailsSmoke(u64),
    /// The agent itself dies under it, again and again.
    TakesAgentDown(u64),
}

const NATURES: &[(u64, Nature)] = &[
    (12, Nature::Good),
    (1, Nature::CannotBeFetched),
    (1, Nature::CrashLoops(10)),
    (1, Nature::CrashLoops(100)),
    (2, Nature::FailsVerification(3)),
    (2, Nature::FailsVerification(30)),
    (1, Nature::FailsVerification(100)),
    (1, Nature::FailsInBake(5)),
    (1, Nature::FailsInBake(60)),
    (2, Nature::FailsSmoke(0)),
    (1, Nature::FailsSmoke(20)),
    (1, Nature::TakesAgentDown(10)),
];

#[derive(Debug)]
pub struct Known {
    pub release: ReleaseRef,
    pub counter: u64,
    pub nature: Nature,
}

#[derive(Debug, Default)]
pub struct Releases {
    /// Oldest first.
    pub of_app: BTreeMap<AppName, Vec<Known>>,
    by_digest: BTreeMap<Digest, (AppName, usize)>,
}

impl Releases {
    /// Most need none.
    pub fn any_migration(dice: &mut Dice) -> Option<MigrationPlan> {
        let undo = dice.pick(&[Undo::Keep, Undo::Down, Undo::Never]).copied();
        let plan = MigrationPlan {
            has_status: dice.percent(60),
            has_contract: dice.percent(20),
            undo: undo.unwrap_or_default(),
            ..MigrationPlan::default()
        };
        dice.percent(25).then_some(plan)
    }

    pub fn any_nature(dice: &mut Dice) -> Nature {
        dice.weighted(NATURES, |row| row.0)
            .map_or(Nature::Good, |row| row.1)
    }

    /// A new one, with what the coordinator is told of it.
    pub fn make(
        &mut self,
        app: &AppName,
        nature: Nature,
        migration: Option<MigrationPlan>,
    ) -> anyhow::Result<PushRelease> {
        let known = self.of_app.entry(app.clone()).or_default();
        let counter = known.len() as u64 + 1;
        let version = format!("v{counter}");
        let release = ReleaseRef {
            digest: Digest::of(format!("{app} {version}").as_bytes()),
            version: version.parse()?,
        };
        self.by_digest.insert(release.digest, (app.clone(), known.len()));
        known.push(Known {
            release: release.clone(),
            counter,
            nature,
        });
        Ok(PushRelease {
            app: app.clone(),
            release,
            counter,
            components: vec!["web".parse()?],
            platforms: vec![Platform::any()],
            strategy: Strategy::default(),
            healthy_deadline: HealthRules::default().healthy_deadline,
            migration,
            signed_by: vec![],
        })
    }

    pub fn known(&self, release: &ReleaseRef) -> Option<&Known> {
        let (app, index) = self.by_digest.get(&release.digest)?;
        self.of_app.get(app)?.get(*index)
    }

    pub fn nature(&self, release: &ReleaseRef) -> Nature {
        self.known(release).map_or(Nature::Good, |known| known.nature)
    }

    /// The same nodes each time: what fails there goes on failing there.
    pub fn strikes(&self, release: &ReleaseRef, node: usize, percent: u64) -> bool {
        let counter = self.known(release).map_or(0, |known| known.counter);
        mix(counter << 32 ^ node as u64) % 100 < percent
    }
}
