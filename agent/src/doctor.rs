//! `fleet-agent doctor`: what stands between this node and a working agent.

use std::collections::BTreeSet;
use std::path::Path;

use fleet_proto::release::ReleaseRef;
use fleet_proto::time::Timestamp;
use serde::Serialize;

use crate::config::Config;
use crate::effects::chain;
use crate::facts;
use crate::identity;
use crate::layout::Layout;
use crate::ledger::LedgerFile;
use crate::local::{self, Answer, Question};
use crate::slots::Slots;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: &'static str,
    pub is_well: bool,
    pub says: String,
}

pub async fn examine(config: &Config, config_path: &Path) -> Vec<Finding> {
    let layout = Layout::new(&config.state);
    let mut findings = vec![
        trust(config),
        certificate(config, config_path, &layout),
        disk(config, &layout),
        ledger(&layout),
    ];
    findings.push(agent(&layout).await);
    findings.extend(releases(&layout));
    findings
}

fn finding(what: &'static str, result: Result<String, String>) -> Finding {
    Finding {
        what,
        is_well: result.is_ok(),
        says: result.unwrap_or_else(|why| why),
    }
}

fn trust(config: &Config) -> Finding {
    let keys = config.trust.release_keys.len();
    let threshold = config.trust.threshold.max(1);
    let text = format!("{keys} release keys are pinned, {threshold} must have signed");
    finding("trust", if keys >= threshold { Ok(text) } else { Err(text) })
}

fn certificate(config: &Config, config_path: &Path, layout: &Layout) -> Finding {
    let looked = identity::read(layout, config_path, &config.node).and_then(|(_, peer)| {
        identity::must_be_valid(&peer, Timestamp::now())?;
        Ok(format!(
            "{}, until {}, renews itself from {} on",
            peer.identity,
            peer.not_after,
            peer.renew_at()
        ))
    });
    finding("certificate", looked.map_err(|error| chain(&error)))
}

fn disk(config: &Config, layout: &Layout) -> Finding {
    // Before the node is enrolled there may be no state yet.
    let mut places = layout.root().ancestors();
    let there = places.find(|place| place.is_dir()).unwrap_or(layout.root());
    let free = facts::disk_free(there);
    let reserve = config.limits.disk_reserve;
    let text = format!("{free} are free, {reserve} are kept in reserve");
    finding("disk", if free > reserve { Ok(text) } else { Err(text) })
}

fn ledger(layout: &Layout) -> Finding {
    let looked = LedgerFile::look(&layout.ledger());
    let said = looked.map(|ledger| {
        format!(
            "{} apps, {} entries to be told",
            ledger.apps.len(),
            ledger.history.len()
        )
    });
    finding("ledger", said.map_err(|error| chain(&error)))
}

async fn agent(layout: &Layout) -> Finding {
    let result = match local::ask(&layout.socket(), &Question::Status).await {
        Ok(Some(Answer::Status(status))) => match status.coordinator {
            Some(coordinator) => Ok(format!("runs, with a session to {coordinator}")),
            None => Err("runs, without a session to any coordinator; its log says why".to_owned()),
        },
        Ok(Some(_)) => Err("gave an odd answer".to_owned()),
        Ok(None) => Err("does not run\nhint: `fleet-agent run`, or `systemctl start fleet-agent`".to_owned()),
        Err(error) => Err(chain(&error)),
    };
    finding("agent", result)
}

fn releases(layout: &Layout) -> Vec<Finding> {
    let Ok(ledger) = LedgerFile::look(&layout.ledger()) else {
        return Vec::new();
    };
    let apps = ledger.apps.iter();
    apps.map(|(app, record)| {
        let slots = Slots::new(layout, app);
        let installed = record.good.iter().chain(&record.current);
        let mut needed: BTreeSet<ReleaseRef> = installed.map(|known| known.release.clone()).collect();
        // A process that was kept is started again from there when it ends.
        needed.extend(slots.in_use_releases());
        let lost: Vec<String> = needed
            .iter()
            .filter(|release| !slots.open(release).is_ok_and(|slot| slot.is_whole()))
            .map(ToString::to_string)
            .collect();
        let result = if lost.is_empty() {
            Ok(format!(
                "{app}: {} good releases are on the disk, unchanged",
                record.good.len()
            ))
        } else {
            Err(format!(
                "{app}: not on the disk as they were: {}",
                lost.join(", ")
            ))
        };
        finding("releases", result)
    })
    .collect()
}
