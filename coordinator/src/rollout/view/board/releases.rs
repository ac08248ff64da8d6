//! Releases, with where they run and where they failed.

use std::collections::BTreeMap;

use fleet_proto::ids::AppName;
use fleet_proto::release::ReleaseRef;
use fleet_proto::view::board::{KnownBadBoard, Page, ReleaseBoard, ReleaseWord};

use super::Part;
use crate::rollout::state::{Release, State};

/// Newest first; a page ends behind so many, counted from the newest.
pub fn releases(state: &State, app: Option<&AppName>, part: &Part<usize>) -> Page<ReleaseBoard> {
    let mut all: Vec<(&AppName, &Release)> = state
        .releases
        .iter()
        .filter(|(name, _)| app.is_none_or(|wanted| wanted == *name))
        .flat_map(|(name, releases)| releases.values().map(move |release| (name, release)))
        .collect();
    all.sort_by(|(a_app, a), (b_app, b)| {
        (b.pushed_at, b.counter, b_app).cmp(&(a.pushed_at, a.counter, a_app))
    });
    let begin = part.after.unwrap_or(0).min(all.len());
    let end = (begin + part.limit).min(all.len());
    let running = running(state);
    Page {
        next: (end < all.len()).then(|| end.to_string()),
        items: all[begin..end]
            .iter()
            .map(|(app, release)| board(state, app, release, &running))
            .collect(),
    }
}

type Running<'a> = BTreeMap<(&'a AppName, &'a ReleaseRef), usize>;

fn running(state: &State) -> Running<'_> {
    let mut running = BTreeMap::new();
    for node in state.nodes.values().filter(|node| !node.is_revoked()) {
        for (name, app) in &node.apps {
            if let Some(current) = &app.current {
                *running.entry((name, current)).or_default() += 1;
            }
        }
    }
    running
}

fn board(state: &State, app: &AppName, release: &Release, running: &Running<'_>) -> ReleaseBoard {
    let environments = state.environments.iter();
    let is_desired = |desired: Option<&ReleaseRef>| desired == Some(&release.release);
    ReleaseBoard {
        app: app.clone(),
        release: ReleaseWord::from(&release.release),
        counter: release.counter,
        pushed_at: release.pushed_at,
        by: release.by.clone(),
        components: release.components.iter().map(ToString::to_string).collect(),
        signed_by: release.signed_by.clone(),
        runs_on: running.get(&(app, &release.release)).copied().unwrap_or(0),
        desired_in: environments
            .clone()
            .filter(|(_, within)| is_desired(within.desired.get(app)))
            .map(|(name, _)| name.clone())
            .collect(),
        known_bad: environments
            .filter_map(|(name, within)| {
                let bad = within.known_bad.get(app)?.get(&release.release.version)?;
                Some(KnownBadBoard {
                    environment: name.clone(),
                    rollout: bad.rollout,
                    why: bad.why.clone(),
                })
            })
            .collect(),
    }
}
