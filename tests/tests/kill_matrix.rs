//! At every boundary between two durable acts of a step the agent is killed, and on another
//! host the power is cut. It comes back, and the node has a release that runs, the ledger
//! and the disk agree, the migration was done once, and the outcome is told.
//!
//! Which boundaries a step comes to is read off one that is not disturbed. To play some of
//! them alone: `FLEET_BOUNDARIES=slot. cargo nextest run --test kill_matrix --no-capture`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed test says where"
)]

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use anyhow::{Context, ensure};
use fleet_agent::boundary::Boundary;
use fleet_agent::status::NodeStatus;
use fleet_proto::session::{Health, Phase};
use fleet_proto::view::{ConnectionView, RolloutStateView, RolloutView};
use fleet_tests::fleet::PATIENCE;
use fleet_tests::hosts::boundaries::{
    install_agent_with_boundaries, kill_what_stopped, passed, stop_at, wait_until_stopped,
};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::database::Database;
use fleet_tests::hosts::fleet::{CONFIG, HostFleet, STATE, agent_log, succeed_on};
use fleet_tests::hosts::host::Host;
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;

const NODE: &str = "n01";
/// After so many surprises the rest says nothing new.
const FAILURES_MAX: usize = 4;

/// What is the matter with the release that is rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    Nothing,
    /// It starts, and its check does not pass: the node puts itself back.
    Sick,
    /// Its migration does not verify, and is taken back.
    Unsound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    PowerCut,
}

/// A boundary, the so-manieth time that the agent comes to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    matter: Matter,
    at: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matter = match self.matter {
            Matter::Nothing => "",
            Matter::Sick => "sick: ",
            Matter::Unsound => "unsound: ",
        };
        write!(f, "{matter}{}", self.at)
    }
}

struct Bench {
    // It ends while there still is the bridge that it listens on.
    database: Database,
    fleet: HostFleet,
    releases: u32,
    /// What ran before the round.
    good: String,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let fleet = HostFleet::start(1)?;
        let host = fleet.hosts.host(NODE)?;
        let config = String::from_utf8(host.read(CONFIG)?)?;
        let config = config.replace("[limits]\n", "[limits]\nkeep_releases = 2\n");
        host.write(CONFIG, config.as_bytes(), 0o644)?;
        install_agent_with_boundaries(host)?;
        let database = Database::listen(fleet.hosts.coordinator_address())?;
        let mut bench = Self {
            fleet,
            database,
            releases: 0,
            good: String::new(),
        };
        // As many as stay, so that each round after this retires one.
        for _ in 0..2 {
            let (version, number) = bench.begin(Matter::Nothing)?;
            bench.ends(Matter::Nothing, &version, number)?;
        }
        Ok(bench)
    }

    fn host(&self) -> anyhow::Result<&Host> {
        self.fleet.hosts.host(NODE)
    }

    fn begin(&mut self, matter: Matter) -> anyhow::Result<(String, u64)> {
        self.releases += 1;
        let version = format!("v1.{}.0", self.releases);
        self.push(&version, matter)?;
        self.fleet.fleet.wait_for_connections(1)?;
        let rollout = [
            "rollout",
            &version,
            "--max-unreachable",
            "1",
            "--supersede",
            "--detach",
        ];
        let begun = self.fleet.fleet.ctl(&rollout)?;
        ensure!(begun.code == 0, "{}{}", begun.stdout, begun.stderr);
        let rollouts = self.fleet.fleet.status()?.rollouts;
        let number = rollouts.iter().map(|rollout| rollout.number.0).max();
        Ok((version, number.context("no rollout")?))
    }

    fn push(&self, version: &str, matter: Matter) -> anyhow::Result<()> {
        let unit = format!(
            "[Service]\nType=exec\nWorkingDirectory=${{dir}}\nEnvironment=RELEASE={version}\nExecStart=${{dir}}/run\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        let well = if matter == Matter::Sick {
            "absent"
        } else {
            "version"
        };
        let mut run = format!(
            "kind = \"systemd\"\nunit = \"shop.service\"\nfile = \"shop.service\"\n\
             [[component.check]]\nname = \"well\"\nkind = \"exec\"\ninterval = \"100ms\"\ncommand = [\"test\", \"-e\", \"{well}\"]\n"
        );
        if matter != Matter::Sick {
            let verify = if matter == Matter::Unsound {
                "false"
            } else {
                "./database verify"
            };
            run.push_str(&format!(
                "[migrations]\nstatus = [\"./database\", \"status\"]\nup = [\"./database\", \"up\"]\n\
                 verify = [\"sh\", \"-c\", \"{verify}\"]\ndown = [\"./database\", \"down\"]\n\
                 [migrations.backup]\nkeep = 2\ncommand = [\"sh\", \"-c\", \"./database backup && echo dump >${{backup}}\"]\n"
            ));
        }
        let piece = Piece::new("web", run)
            .with("run", "#!/bin/sh\nexec sleep infinity\n")
            .with("shop.service", unit)
            .with("database", self.database.client(version))
            .with("version", version);
        let deadline = if matter == Matter::Sick { "1s" } else { "20s" };
        push(&self.fleet.fleet, version, deadline, &[piece])
    }

    /// The boundaries that a step comes to when nobody disturbs it.
    fn trace(&mut self, matter: Matter) -> anyhow::Result<Vec<String>> {
        stop_at(self.host()?, "nowhere")?;
        let (version, number) = self.begin(matter)?;
        self.ends(matter, &version, number)?;
        passed(self.host()?)
    }

    /// How it ended.
    fn round(&mut self, row: &Row, blow: Blow) -> anyhow::Result<String> {
        stop_at(self.host()?, &row.at)?;
        let (version, number) = self.begin(row.matter)?;
        wait_until_stopped(self.host()?)?;
        match blow {
            Blow::Kill => kill_what_stopped(self.host()?)?,
            Blow::PowerCut => {
                let host = self.fleet.hosts.host_mut(NODE)?;
                host.pull_the_plug()?;
                host.boot()?;
            }
        }
        self.ends(row.matter, &version, number)
    }

    /// Waits for it, and looks whether all is as it should be.
    fn ends(&mut self, matter: Matter, version: &str, number: u64) -> anyhow::Result<String> {
        let rollout = self.ended(number)?;
        if let Some(rollback) = rollout.rollback {
            let rollback = self.ended(rollback.0)?;
            ensure!(rollback.state == RolloutStateView::Succeeded, "{rollback:?}");
        }
        let runs = match matter {
            Matter::Nothing => version,
            Matter::Sick | Matter::Unsound => &self.good,
        };
        self.is_told(matter, &rollout)?;
        wait_for("the node to be as it should be", PATIENCE / 6, || {
            self.stands(runs).ok()
        })
        .or_else(|_| self.stands(runs))?;
        self.migrated(matter, version)?;
        self.good = runs.to_owned();
        Ok(self.summary(&rollout, version))
    }

    /// By itself, or a person is asked.
    fn ended(&self, number: u64) -> anyhow::Result<RolloutView> {
        let ended = |rollout: &RolloutView| rollout.state.is_ended() || rollout.needs_person;
        let is_missed = |rollout: &RolloutView| {
            rollout
                .why
                .as_ref()
                .is_some_and(|why| why.contains("could not be reached"))
        };
        let rollout = || self.fleet.fleet.rollout(number);
        wait_for("the rollout to end", PATIENCE, || {
            let rollout = rollout().ok().filter(ended)?;
            if rollout.needs_person && is_missed(&rollout) {
                // A host that boots for long is missed, and that is for a person to hear of.
                let _again = self.fleet.fleet.ctl(&["retry", &number.to_string()]);
                return None;
            }
            Some(rollout)
        })
        .with_context(|| format!("{:?}", rollout()))
    }

    fn summary(&self, rollout: &RolloutView, version: &str) -> String {
        let count = |act: &str| match self.database.count(act, version) {
            0 => String::new(),
            1 => format!(", {act}"),
            times => format!(", {act} ×{times}"),
        };
        let acts = ["status", "backup", "up", "verify", "down"].map(count).concat();
        format!("{}{acts}", rollout.state.word())
    }

    fn is_told(&self, matter: Matter, rollout: &RolloutView) -> anyhow::Result<()> {
        let step = rollout.steps.iter().find(|step| step.node.as_str() == NODE);
        let phase = step.map(|step| step.phase);
        let failure = step.and_then(|step| step.failure.as_ref());
        let is_right = match matter {
            Matter::Nothing => rollout.state == RolloutStateView::Succeeded && phase == Some(Phase::Done),
            Matter::Sick => {
                rollout.state == RolloutStateView::Failed
                    && matches!(phase, Some(Phase::RollingBack | Phase::RolledBack))
                    && failure.is_some_and(|failure| failure.message.contains("web/well did not pass"))
            }
            Matter::Unsound => {
                rollout.state != RolloutStateView::Succeeded
                    && rollout.why.as_ref().is_some_and(|why| why.contains("verify"))
            }
        };
        ensure!(is_right, "told otherwise: {rollout:?}");
        Ok(())
    }

    /// Ledger, disk, systemd and coordinator say the same, and it is this version.
    fn stands(&self, version: &str) -> anyhow::Result<()> {
        let host = self.host()?;
        let status: NodeStatus =
            serde_json::from_str(&succeed_on(host, &["fleet-agent", "status", "--output", "json"])?)?;
        let app = &status.apps.first().context("no app")?.status;
        let current = app.current.as_ref().context("nothing is current")?;
        ensure!(
            current.version.to_string() == version,
            "{current} is current, not {version}"
        );
        ensure!(app.health == Health::Healthy, "{:?}", app.health);
        ensure!(app.last_good.as_ref() == Some(current), "not good: {app:?}");
        let look = format!(
            "cd {STATE}/apps/shop
             pid=$(systemctl show --value --property MainPID shop)
             basename $(readlink current); basename $(dirname $(dirname $(readlink /proc/$pid/cwd)))
             cat /proc/$pid/cwd/version; echo; systemctl is-enabled shop; systemctl is-active shop
             ls -A . backups | grep -E '^staging-|^incoming|[.]part$|^$' | grep . | tr '\\n' ' '; echo
             ls slots | wc -l; ls backups | wc -l"
        );
        let found = succeed_on(host, &["sh", "-c", &look])?;
        let lines: Vec<&str> = found.lines().collect();
        let digest = current.digest.to_string();
        let wanted = [&digest, &digest, version, "enabled", "active", ""];
        ensure!(
            lines.len() == 8 && lines[..6] == wanted,
            "expected {wanted:?}, found {lines:?}"
        );
        ensure!(lines[6].parse::<u32>()? <= 3, "{} slots", lines[6]);
        ensure!(lines[7].parse::<u32>()? <= 2, "{} backups", lines[7]);
        let nodes = self.fleet.fleet.status()?.nodes;
        let node = nodes.first().context("no node")?;
        ensure!(
            node.connection == ConnectionView::Connected,
            "{:?}",
            node.connection
        );
        let told = &node.apps.first().context("the coordinator knows no app")?;
        let same =
            (&told.current, &told.last_good, &told.health) == (&app.current, &app.last_good, &app.health);
        ensure!(same, "{told:?} is not {app:?}");
        Ok(())
    }

    fn migrated(&self, matter: Matter, version: &str) -> anyhow::Result<()> {
        let counts = (
            self.database.count("up", version),
            self.database.count("down", version),
        );
        let (wanted, is_applied) = match matter {
            Matter::Nothing => ((1, 0), true),
            Matter::Sick => ((0, 0), false),
            Matter::Unsound => ((1, 1), false),
        };
        ensure!(counts == wanted, "up and down: {counts:?}, not {wanted:?}");
        ensure!(
            self.database.is_applied(version) == is_applied,
            "applied: {}",
            !is_applied
        );
        Ok(())
    }

    /// All rows; what came of each.
    fn play(&mut self, rows: &[Row], blow: Blow) -> BTreeMap<Row, anyhow::Result<String>> {
        let mut found = BTreeMap::new();
        for row in rows {
            let began = Instant::now();
            let mut outcome = self.round(row, blow);
            eprintln!("{blow:?} {row}: {outcome:?} in {:?}", began.elapsed());
            if outcome.is_err() {
                let log = self.host().map_or_else(|error| error.to_string(), agent_log);
                outcome = outcome.context(log);
                let _it_may_have_ended = self.fleet.fleet.ctl(&["abort"]);
            }
            found.insert(row.clone(), outcome);
            if found.values().filter(|outcome| outcome.is_err()).count() == FAILURES_MAX {
                break;
            }
        }
        found
    }
}

/// What is worth a round: each boundary once; those of commands for the one that changes the
/// database; a ledger being written where it says most.
fn rows_of(matter: Matter, trace: &[String]) -> Vec<Row> {
    let number = |at: usize| trace[..=at].iter().filter(|word| **word == trace[at]).count();
    let from = match matter {
        // An agent that starts comes to some as well.
        Matter::Nothing => trace.iter().position(|word| word == LEDGER_FILE[0]),
        Matter::Sick => trace.iter().position(|word| word == "ledger.rolling-back"),
        Matter::Unsound => trace.iter().position(|word| word == "migration.up-ended"),
    }
    .unwrap_or_else(|| unreachable!("{matter:?}: {trace:?}"));
    let begun = trace.iter().position(|word| word == "ledger.migration-begun");
    let begun = begun.unwrap_or_default().max(from);
    let mut rows = Vec::new();
    for (at, word) in trace.iter().enumerate().skip(from) {
        let is_first = !trace[from..at].contains(word);
        let next = trace[at..]
            .iter()
            .find(|word| !LEDGER_FILE.contains(&word.as_str()));
        let before = |next: Option<&String>| next.is_some_and(|next| WORTH_A_LEDGER.contains(&next.as_str()));
        let is_twice = matches!(word.as_str(), "ledger.order-taken" | "ledger.staged");
        let is_worth_it = match word.as_str() {
            word if LEDGER_FILE.contains(&word) => before(next),
            // What changes the database is worth more than what looks at it.
            word if word.starts_with("errand.") => at >= begun && !trace[begun..at].contains(&trace[at]),
            _ => is_first || is_twice,
        };
        if is_worth_it {
            let at = format!("{word}:{}", number(at));
            rows.push(Row { matter, at });
        }
    }
    rows
}

const LEDGER_FILE: [&str; 3] = ["ledger.written", "ledger.kept", "ledger.renamed"];
const WORTH_A_LEDGER: [&str; 3] = [
    "ledger.migration-begun",
    "ledger.activating",
    "ledger.rolling-back",
];

#[test]
fn an_agent_comes_back_from_every_instant_and_so_does_its_host() {
    if !can_boot() {
        return;
    }
    let mut killed = Bench::new().unwrap();
    let mut rows = Vec::new();
    let mut seen = Vec::new();
    for matter in [Matter::Nothing, Matter::Sick, Matter::Unsound] {
        let trace = killed.trace(matter).unwrap();
        rows.extend(rows_of(matter, &trace));
        seen.extend(trace);
    }
    let unseen: Vec<&str> = Boundary::ALL
        .iter()
        .map(|boundary| boundary.word())
        // Those of the agent's own updates are `agent_updates`' to come to.
        .filter(|word| !word.starts_with("update."))
        .filter(|word| !seen.iter().any(|seen| seen == word))
        .collect();
    assert!(unseen.is_empty(), "nobody came to {unseen:?}: {seen:#?}");
    if let Ok(wanted) = std::env::var("FLEET_BOUNDARIES") {
        rows.retain(|row| row.to_string().contains(&wanted));
    }
    let (kills, cuts) = std::thread::scope(|scope| {
        let cuts = scope.spawn(|| Bench::new().unwrap().play(&rows, Blow::PowerCut));
        (killed.play(&rows, Blow::Kill), cuts.join().unwrap())
    });
    let word = |found: &BTreeMap<Row, anyhow::Result<String>>, row: &Row| match found.get(row) {
        None => "not played".to_owned(),
        Some(Ok(outcome)) => outcome.clone(),
        Some(Err(error)) => format!("FAILED: {}", error.root_cause()),
    };
    eprintln!("| boundary | killed | power cut |\n|---|---|---|");
    for row in &rows {
        eprintln!("| {row} | {} | {} |", word(&kills, row), word(&cuts, row));
    }
    let failed: Vec<String> = kills
        .iter()
        .chain(&cuts)
        .filter_map(|(row, outcome)| Some(format!("{row}: {:?}", outcome.as_ref().err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
