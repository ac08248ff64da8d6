//! The plug of a host.

use std::net::UdpSocket;
use std::time::Instant;

use fleet_tests::chance::Chance;
use fleet_tests::hosts::{Hosts, can_boot};

use crate::{PATIENCE, run};

#[test]
fn what_is_synced_survives_the_plug_and_nothing_else_does() {
    if !can_boot() {
        return;
    }
    let mut hosts = Hosts::start(1).unwrap();
    let host = hosts.host_mut("n01").unwrap();
    let unit = "[Service]\nExecStart=sleep infinity\nExecStop=touch /stopped\n\n[Install]\nWantedBy=multi-user.target\n";
    host.write("/etc/systemd/system/clock.service", unit.as_bytes(), 0o644)
        .unwrap();
    run(host, &["systemctl", "daemon-reload"]);
    run(host, &["systemctl", "enable", "--now", "clock"]);
    run(host, &["sync"]);
    let id = host.read("/etc/machine-id").unwrap();
    run(host, &["sh", "-c", "echo never synced >/unsynced"]);

    let from = Instant::now();
    host.pull_the_plug().unwrap();
    let off = from.elapsed();
    assert!(host.run(&["true"]).is_err(), "there is no power");
    host.boot().unwrap();
    eprintln!("plug pulled in {off:?}, booted in {:?}", from.elapsed() - off);

    assert_eq!(host.read("/etc/machine-id").unwrap(), id);
    assert_eq!(run(host, &["systemctl", "is-active", "clock"]).trim(), "active");
    assert!(
        host.read("/stopped").is_err(),
        "a power cut stops nothing in good order"
    );
    let unsynced = host.read("/unsynced").unwrap_or_default();
    assert!(unsynced.is_empty(), "it had no time to reach the disk");
}

/// At any instant of a host that writes without pause: what it said was synced is there.
#[test]
fn nothing_that_was_promised_is_lost_with_the_power() {
    const CUTS: usize = 5;
    if !can_boot() {
        return;
    }
    let mut chance = Chance::from_environment();
    let mut hosts = Hosts::start(1).unwrap();
    let socket = UdpSocket::bind((hosts.coordinator_address(), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = socket.local_addr().unwrap();
    let host = hosts.host_mut("n01").unwrap();
    for cut in 0..CUTS {
        let write = format!(
            "mkdir /data{cut}; cd /data{cut}; for ((i = 0; ; i++)); do
                 echo $i >$i; sync $i . /; echo $i >/dev/udp/{}/{}
             done",
            to.ip(),
            to.port()
        );
        run(host, &["systemd-run", "--quiet", "bash", "-c", &write]);
        let promise = || {
            let mut word = [0; 16];
            let length = socket.recv(&mut word).ok()?;
            String::from_utf8_lossy(&word[..length])
                .trim()
                .parse::<u64>()
                .ok()
        };
        let enough = chance.between(1, 100);
        let mut promised = 0;
        while promised < enough {
            promised = promise().unwrap();
        }
        host.pull_the_plug().unwrap();
        socket.set_nonblocking(true).unwrap();
        promised = std::iter::from_fn(promise).last().unwrap_or(promised);
        socket.set_nonblocking(false).unwrap();
        host.boot().unwrap();
        let all: String = (0..=promised).map(|i| format!("{i}\n")).collect();
        let cat = format!("cd /data{cut}; cat $(seq 0 {promised})");
        assert_eq!(run(host, &["sh", "-c", &cat]), all, "cut {cut}");
        eprintln!("cut {cut}: {promised} promised, all there");
    }
}

#[test]
fn a_host_that_is_shut_down_stops_and_keeps_everything() {
    if !can_boot() {
        return;
    }
    let mut hosts = Hosts::start(1).unwrap();
    let host = hosts.host_mut("n01").unwrap();
    run(
        host,
        &[
            "systemd-run",
            "-p",
            "ExecStop=touch /stopped",
            "sleep",
            "infinity",
        ],
    );
    run(host, &["sh", "-c", "echo never synced >/unsynced"]);
    host.shut_down().unwrap();
    host.boot().unwrap();
    assert_eq!(host.read("/unsynced").unwrap(), b"never synced\n");
    assert!(host.read("/stopped").is_ok());
}
