//! Hosts of one test, of another, and of one that is gone.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use fleet_tests::hosts::{Hosts, can_boot};
use fleet_tests::wait::wait_for;

use crate::{PATIENCE, wait_until_reaches};

const STAY: &str = "FLEET_TEST_STAY_UNTIL_KILLED";

#[test]
fn sets_of_hosts_side_by_side_do_not_meet() {
    if !can_boot() {
        return;
    }
    let one = Hosts::start(1).unwrap();
    let two = Hosts::start(1).unwrap();
    assert_ne!(one.coordinator_address(), two.coordinator_address());
    let host = one.host("n01").unwrap();
    drop(two);
    wait_until_reaches(host, one.coordinator_address());
}

#[test]
fn nothing_is_left_of_hosts_whose_test_panics() {
    if !can_boot() {
        return;
    }
    let (send, receive) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let hosts = Hosts::start(1).unwrap();
        let host = hosts.host("n01").unwrap();
        send.send((host.leader().unwrap(), host.home().to_owned()))
            .unwrap();
        unreachable!("as a test does that fails");
    })
    .join();
    assert!(panicked.is_err());
    let (leader, home) = receive.recv().unwrap();
    assert!(!Path::new(&format!("/proc/{leader}/root")).exists());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&format!("{}/", home.display())));
    assert!(!home.join("disk.img").exists());
}

/// The test starts itself once more, in a process that it kills.
#[test]
fn what_a_killed_test_left_is_removed() {
    if !can_boot() {
        return;
    }
    if std::env::var_os(STAY).is_some() {
        let hosts = Hosts::start(1).unwrap();
        let host = hosts.host("n01").unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "\n{}\n{}", host.leader().unwrap(), host.home().display()).unwrap();
        loop {
            std::thread::park();
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "leftovers::what_a_killed_test_left_is_removed",
            "--nocapture",
        ])
        .env(STAY, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let leader = said.find(|line| line.parse::<u32>().is_ok()).unwrap();
    let home = said.next().unwrap();
    let command = Path::new("/proc").join(leader).join("cmdline");
    // Whoever is dead and not buried has no command any more.
    let lives = || !std::fs::read(&command).unwrap_or_default().is_empty();
    assert!(lives() && Path::new(&home).join("disk.img").exists());
    child.kill().unwrap();
    child.wait().unwrap();

    let _next = Hosts::start(0).unwrap();
    // Or by another test that was quicker, and is still at it.
    wait_for("what was left to be removed", PATIENCE, || {
        (!lives() && !Path::new(&home).exists()).then_some(())
    })
    .unwrap();
}
