//! The power goes at random moments; what was acknowledged is there.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed test says where"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleet_coordinator::driver::Driver;
use fleet_coordinator::journal::Journal;
use fleet_coordinator::rollout::input::{Request, Settings};
use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use fleet_tests::chance::Chance;
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::power::{Disk, can_mount};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

const MOMENTS: u64 = 30;

/// Appends as fast as it can; each record names its position.
#[test]
fn every_acknowledged_record_of_the_journal_survives() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::from_environment();
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged_in_all = 0;
    for moment in 0..MOMENTS {
        let disk = Disk::create(directory.path(), &format!("journal{moment}"), 64).unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicU64::new(0));
        let writer = {
            let (acknowledged, stop) = (acknowledged.clone(), stop.clone());
            let path = disk.path().join("journal");
            let big = chance.between(0, 3) == 0;
            std::thread::spawn(move || {
                let (mut journal, _) = Journal::open(&path).unwrap();
                while stop.load(Ordering::Relaxed) == 0 && journal.end() < 4_000 {
                    let after = journal.end();
                    let batch: Vec<Vec<u8>> = (1..=(after % 7 + 1))
                        .map(|i| {
                            let mut record = (after + i).to_be_bytes().to_vec();
                            // Noise, so that compression does not make it small.
                            if big {
                                record.extend((0..20_000_u32).flat_map(|n| {
                                    (n.wrapping_mul(2_654_435_761) ^ u32::try_from(after).unwrap())
                                        .to_le_bytes()
                                }));
                            }
                            record
                        })
                        .collect();
                    let end = journal.append(1, after, &batch).unwrap();
                    acknowledged.store(end, Ordering::SeqCst);
                    if end % 97 < 7 {
                        journal.save_snapshot(end, &end.to_be_bytes()).unwrap();
                    }
                }
            })
        };
        let wanted = chance.between(1, 400);
        wait_for("some records", PATIENCE, || {
            (acknowledged.load(Ordering::SeqCst) >= wanted || writer.is_finished()).then_some(())
        })
        .unwrap();
        // Read before the cut: what was acknowledged by now must be there after it.
        let promised = acknowledged.load(Ordering::SeqCst);
        let after = disk
            .after_power_cut(directory.path(), &format!("journal{moment}-after"))
            .unwrap();
        stop.store(1, Ordering::Relaxed);
        writer.join().unwrap();

        let (journal, recovered) = Journal::open(&after.path().join("journal")).unwrap();
        assert!(
            journal.end() >= promised,
            "moment {moment}: {promised} promised, {} there",
            journal.end()
        );
        let snapshot = recovered.snapshot.as_ref().map_or(0, |snapshot| {
            u64::from_be_bytes(snapshot.bytes.as_slice().try_into().unwrap())
        });
        assert_eq!(
            recovered
                .snapshot
                .as_ref()
                .map_or(0, |snapshot| snapshot.position),
            snapshot
        );
        for (position, bytes) in &recovered.records {
            assert_eq!(bytes[..8], position.to_be_bytes(), "moment {moment}");
        }
        acknowledged_in_all += promised;
    }
    eprintln!("{MOMENTS} cuts, {acknowledged_in_all} acknowledged records, none lost");
}

/// The driver answers an operator; whatever it answered is in the state after the cut.
#[test]
fn every_answer_to_an_operator_survives() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::from_environment();
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for moment in 0..MOMENTS {
        let disk = Disk::create(directory.path(), &format!("state{moment}"), 64).unwrap();
        let open = |path: &std::path::Path| {
            let (journal, recovered) = Journal::open(&path.join("journal")).unwrap();
            Driver::open(journal, recovered, Settings::default(), BTreeMap::new()).unwrap()
        };
        let (driver, handle) = open(disk.path());
        let ended = driver.spawn().unwrap();
        let answered: Arc<Mutex<Vec<String>>> = Arc::default();
        let asker = {
            let (handle, answered) = (handle.clone(), answered.clone());
            runtime.spawn(async move {
                for i in 0..2_000 {
                    let id = format!("t{i}");
                    let request = Request::CreateToken {
                        token: id.parse().unwrap(),
                        secret_hash: Digest::of(id.as_bytes()),
                        labels: BTreeMap::new(),
                        uses: 1,
                        valid_for: Span::from_secs(3600),
                    };
                    if handle.submit("tester", request).await.is_err() {
                        return;
                    }
                    answered.lock().unwrap().push(id);
                }
            })
        };
        let wanted = usize::try_from(chance.between(1, 150)).unwrap();
        wait_for("some answers", PATIENCE, || {
            (answered.lock().unwrap().len() >= wanted).then_some(())
        })
        .unwrap();
        let promised = answered.lock().unwrap().clone();
        let after = disk
            .after_power_cut(directory.path(), &format!("state{moment}-after"))
            .unwrap();
        asker.abort();
        runtime.block_on(handle.stop());
        runtime.block_on(ended).unwrap().unwrap();

        let (_driver, handle) = open(after.path());
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
    let enrolled = fleet.agent("n01", &["enrol", "--token", &token]).unwrap();
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
            .ctl(&["rollout", to, "--detach", "--max-unreachable", "1"])
            .unwrap();
        assert_eq!(started.code, 0, "{}", started.stderr);
        let until = Instant::now() + Duration::from_millis(chance.between(0, 1_500));
        wait_for("a moment", PATIENCE, || (Instant::now() >= until).then_some(())).unwrap();

        // The cut: the image as it is now; then everything that ran there is gone.
        let image = disk
            .image_at_this_instant(directory.path(), &format!("cut{moment}"))
            .unwrap();
        fleet.kill_agent("n01").unwrap();
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
