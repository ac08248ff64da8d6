//! What breaks: one table.

use super::Storm;
use super::agenda::Thing;

/// How rough a seed is.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub every_ms: u64,
    pub operator_every_ms: u64,
    /// Of a thousand turns, so many are the coordinator's last.
    pub deaths_in_turn: u64,
    /// Of a thousand moments between two writes, so many are an agent's last.
    pub deaths_between_writes: u64,
    pub starts_that_fail: u64,
    pub store_is_down: bool,
}

struct Fault {
    weight: u64,
    strike: fn(&mut Storm, usize) -> anyhow::Result<()>,
}

/// To add a fault: one row here, one function below. Each gets a node by chance.
const FAULTS: &[Fault] = &[
    Fault {
        weight: 3,
        strike: kill_coordinator,
    },
    Fault {
        weight: 12,
        strike: kill_agent,
    },
    Fault {
        weight: 5,
        strike: cut_power,
    },
    Fault {
        weight: 12,
        strike: cut_stream,
    },
    Fault {
        weight: 2,
        strike: cut_zone,
    },
    Fault {
        weight: 4,
        strike: fill_disk,
    },
    Fault {
        weight: 6,
        strike: sicken,
    },
    Fault {
        weight: 2,
        strike: stop_store,
    },
    Fault {
        weight: 1,
        strike: set_clock,
    },
    Fault {
        weight: 2,
        strike: put_back_by_hand,
    },
];

fn kill_coordinator(storm: &mut Storm, _: usize) -> anyhow::Result<()> {
    storm.kill_coordinator();
    Ok(())
}

fn kill_agent(storm: &mut Storm, node: usize) -> anyhow::Result<()> {
    storm.kill_agent(node);
    Ok(())
}

fn cut_power(storm: &mut Storm, node: usize) -> anyhow::Result<()> {
    if storm.machines[node].is_on {
        storm.cut_power(node);
    }
    Ok(())
}

fn cut_stream(storm: &mut Storm, node: usize) -> anyhow::Result<()> {
    let agent = storm.machines[node].agent.as_ref();
    if let Some(session) = agent.and_then(|agent| agent.session) {
        storm.cut(session);
    }
    Ok(())
}

fn cut_zone(storm: &mut Storm, node: usize) -> anyhow::Result<()> {
    let zone = storm.machines[node].zone;
    if storm.network.cut_off.contains(&zone) {
        return Ok(());
    }
    storm.tell(|_| format!("zone {zone} is cut off"));
    storm.network.cut_off.push(zone);
    for node in 0..storm.machines.len() {
        if storm.machines[node].zone == zone {
            cut_stream(storm, node)?;
        }
    }
    let at = storm.now + storm.dice.delay(60_000);
    storm.agenda.add(at, Thing::Rejoin { zone });
    Ok(())
}

fn fill_disk(storm: &mut Storm, node: usize) -> anyhow::Result<()> {
    storm.tell(|storm| format!("{}: the disk is full", storm.machines[node].id));
    storm.machines[node].is_full = true;
    let at = storm.now + storm.dice.delay(120_000);
    storm.agenda.add(at, Thing::FreeDisk { node });
    Ok(())
}

fn sicken(storm: &mut Storm, node: usize) -> anyhow::Result<()> {
    storm.tell(|storm| format!("{} falls ill", storm.machines[node].id));
    storm.machines[node].is_ill = true;
    storm.look_again(node);
    let at = storm.now + storm.dice.delay(60_000);
    storm.agenda.add(at, Thing::Recover { node });
    Ok(())
}

fn stop_store(storm: &mut Storm, _: usize) -> anyhow::Result<()> {
    storm.tell(|_| "the artifact store is down".to_owned());
    storm.faults.store_is_down = true;
    let at = storm.now + storm.dice.delay(60_000);
    storm.agenda.add(at, Thing::StoreIsBack);
    Ok(())
}

/// Forward and back: the journal's time stands still until the clock has caught up.
fn set_clock(storm: &mut Storm, _: usize) -> anyhow::Result<()> {
    let off = storm.dice.between(0, 240_000);
    storm.coordinator.clock_is_off_ms = 120_000_i64.saturating_sub_unsigned(off);
    storm.tell(|storm| {
        format!(
            "the coordinator's clock is off by {} ms",
            storm.coordinator.clock_is_off_ms
        )
    });
    Ok(())
}

fn put_back_by_hand(storm: &mut Storm, node: usize) -> anyhow::Result<()> {
    let apps: Vec<_> = storm.apps_on(node).into_iter().collect();
    match storm.dice.pick(&apps) {
        Some(app) if storm.machines[node].is_on => storm.put_back_by_hand(node, app),
        _ => Ok(()),
    }
}

impl Storm {
    pub(super) fn strike(&mut self) -> anyhow::Result<()> {
        let at = self.now + self.dice.between(1, self.faults.every_ms * 2);
        self.agenda.add(at, Thing::Weather);
        let node = self.dice.index(self.machines.len());
        match self.dice.weighted(FAULTS, |fault| fault.weight) {
            Some(fault) => (fault.strike)(self, node),
            None => Ok(()),
        }
    }

    pub(super) fn recover(&mut self, node: usize) {
        self.machines[node].is_ill = false;
        self.look_again(node);
    }

    /// Checks find out after a while.
    pub(super) fn look_again(&mut self, node: usize) {
        let Some(life) = self.machines[node].agent.as_ref().map(|agent| agent.life) else {
            return;
        };
        for app in self.apps_on(node) {
            let at = self.now + self.dice.delay(2_000);
            self.agenda.add(at, Thing::Looked { node, life, app });
        }
    }

    pub(super) fn rejoin(&mut self, zone: usize) {
        self.network.cut_off.retain(|other| *other != zone);
    }
}
