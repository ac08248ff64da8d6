//! The power goes at random moments; what was acknowledged is there.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed test says where"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet_coordinator::driver::{Charge, Driver};
use fleet_coordinator::journal::Journal;
use fleet_coordinator::rollout::input::Settings;
use fleet_tests::chance::Chance;
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::power::{Disk, can_mount, stop_what_writes_to};
use fleet_tests::process::program;
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

const MOMENTS: u64 = 30;

/// A writer on a disk of its own, stopped in the middle of anything; what it had printed
/// by then, and the disk as the power left it.
fn cut_a_writer(
    chance: &mut Chance,
    directory: &Path,
    name: &str,
    arguments: &[&str],
) -> (Vec<String>, Disk) {
    let disk = Disk::create(directory, name, 128).unwrap();
    let mut writer = Command::new(program("fleet-power-writer").unwrap())
        .arg(arguments[0])
        .arg(disk.path())
        .args(&arguments[1..])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut promises = BufReader::new(writer.stdout.take().unwrap()).lines();
    let wanted = chance.between(1, 300);
    let mut promised: Vec<String> = (0..wanted).map_while(|_| promises.next()?.ok()).collect();
    // Somewhere within the next append, and not just behind an acknowledgement.
    std::thread::sleep(Duration::from_micros(chance.between(0, 3_000)));
    let _stopped = stop_what_writes_to(disk.path()).unwrap();
    let image = disk
        .image_at_this_instant(directory, &format!("{name}-after"))
        .unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    // What was in the pipe by then was promised too.
    promised.extend(promises.map_while(Result::ok));
    (promised, Disk::from_image(image).unwrap())
}

#[test]
fn every_acknowledged_record_of_the_journal_survives() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::from_environment();
    let directory = tempfile::tempdir().unwrap();
    let mut promised_in_all = 0;
    for moment in 0..MOMENTS {
        let size = if moment % 3 == 2 {
            &["journal", "big"][..]
        } else {
            &["journal"]
        };
        let name = format!("journal{moment}");
        let (promised, disk) = cut_a_writer(&mut chance, directory.path(), &name, size);
        let promised: u64 = promised.last().unwrap().parse().unwrap();
        let (journal, recovered) = Journal::open(&disk.path().join("journal")).unwrap();
        assert!(
            journal.end() >= promised,
            "moment {moment}: {promised} promised, {} there",
            journal.end()
        );
        if let Some(snapshot) = &recovered.snapshot {
            assert_eq!(snapshot.bytes, snapshot.position.to_be_bytes(), "moment {moment}");
        }
        for (position, bytes) in &recovered.records {
            assert_eq!(bytes[..8], position.to_be_bytes(), "moment {moment}");
        }
        promised_in_all += promised;
    }
    eprintln!("{MOMENTS} cuts, {promised_in_all} acknowledged records, none lost");
}

/// The driver answers an operator; whatever it answered is in the state after the cut.
#[test]
fn every_answer_to_an_operator_survives() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::from_environment();
    let directory = tempfile::tempdir().unwrap();
    for moment in 0..MOMENTS {
        let (promised, disk) = cut_a_writer(
            &mut chance,
            directory.path(),
            &format!("state{moment}"),
            &["driver"],
        );
        let (journal, recovered) = Journal::open(&disk.path().join("journal")).unwrap();
        let (_driver, handle) =
            Driver::open(journal, recovered, Settings::default(), Charge::default()).unwrap();
        handle.read(|state| {
            for id in &promised {
                assert!(
                    state.tokens.contains_key(&id.parse().unwrap()),
                    "moment {moment}: {id} is lost"
                );
            }
        });
    }
}

/// The node's disk, with ledger, slots and all, at random moments of steps.
#[test]
fn a_node_has_a_runnable_release_whenever_its_power_goes() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::from_environment();
    let mut fleet = Fleet::with_coordinator().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut disk = Disk::create(directory.path(), "node", 96).unwrap();
    let token = fleet.token(&["--uses", "1"]).unwrap();
    fleet.prepare_node("n01", &disk.path().join("home")).unwrap();
    let enrolled = fleet.enrol("n01", &token).unwrap();
    assert_eq!(enrolled.code, 0, "{}", enrolled.stderr);
    fleet.start_agent("n01").unwrap();
    fleet.wait_until_connected().unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.push("v1.1.0", Behaviour::Good).unwrap();
    fleet.push("v1.2.0", Behaviour::Sick).unwrap();
    let first = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();

    let good = ["v1.0.0", "v1.1.0"];
    for moment in 0..MOMENTS {
        let running = fleet.serves("n01").unwrap();
        let to = if chance.between(0, 4) == 0 {
            "v1.2.0"
        } else {
            good.iter().find(|version| **version != running).unwrap()
        };
        let started = fleet
            // The sick one comes more than once.
            .ctl(&["rollout", to, "--detach", "--max-unreachable", "1", "--again"])
            .unwrap();
        assert_eq!(started.code, 0, "{}", started.stderr);
        let until = Instant::now() + Duration::from_millis(chance.between(0, 1_500));
        wait_for("a moment", PATIENCE, || (Instant::now() >= until).then_some(())).unwrap();

        // The cut: the image as it is now; then everything that ran there is gone.
        let stopped = stop_what_writes_to(disk.path()).unwrap();
        let image = disk
            .image_at_this_instant(directory.path(), &format!("cut{moment}"))
            .unwrap();
        fleet.kill_agent("n01").unwrap();
        stopped.go_on();
        assert_eq!(fleet.agent("n01", &["stop"]).unwrap().code, 0);
        drop(disk);
        std::fs::rename(&image, directory.path().join("node.img")).unwrap();
        disk = Disk::from_image(directory.path().join("node.img")).unwrap();

        fleet.start_agent("n01").unwrap();
        let served = wait_for("a runnable release after the cut", PATIENCE, || {
            fleet
                .serves("n01")
                .filter(|version| good.contains(&version.as_str()))
        })
        .unwrap_or_else(|error| {
            unreachable!(
                "moment {moment}, on the way to {to}: {error}\n{}",
                fleet.log("n01")
            )
        });
        wait_for("the rollout to end", PATIENCE, || {
            let rollouts = fleet.status().ok()?.rollouts;
            rollouts
                .iter()
                .all(|rollout| rollout.state.is_ended())
                .then_some(())
        })
        .unwrap_or_else(|error| {
            unreachable!(
                "moment {moment}, to {to}: {error}\n{}\n{}",
                fleet.log("n01"),
                fleet.ctl(&["explain"]).unwrap().stdout
            )
        });
        eprintln!("moment {moment}: on the way to {to}, then {served}");
        fleet.wait_until_connected().unwrap();
        wait_for("a good release", PATIENCE, || {
            fleet
                .serves("n01")
                .filter(|version| good.contains(&version.as_str()))
        })
        .unwrap();
    }
    fleet.stop_agent("n01").unwrap();
    fleet.agent("n01", &["stop"]).unwrap();
    drop(fleet);
    drop(disk);
}
