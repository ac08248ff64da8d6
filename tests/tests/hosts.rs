//! The hosts themselves: that they are what the tests on them take them for.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed test says where"
)]

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use fleet_tests::hosts::host::Host;
use fleet_tests::hosts::network::Cut;
use fleet_tests::hosts::{Hosts, can_boot};
use fleet_tests::wait::wait_for;

#[path = "hosts/leftovers.rs"]
mod leftovers;
#[path = "hosts/power.rs"]
mod power;

const PATIENCE: Duration = Duration::from_secs(60);

fn run(host: &Host, command: &[&str]) -> String {
    let ended = host.run(command).unwrap();
    assert_eq!(ended.code, 0, "{command:?} on {}: {}", host.name(), ended.stderr);
    ended.stdout
}

/// At this moment; who asked in vain just before may be answered a moment later.
fn reaches(host: &Host, address: Ipv4Addr) -> bool {
    let ping = ["ping", "-c1", "-W2", &address.to_string()];
    host.run(&ping).unwrap().code == 0
}

fn wait_until_reaches(host: &Host, address: Ipv4Addr) {
    wait_for(&format!("{} to reach {address}", host.name()), PATIENCE, || {
        reaches(host, address).then_some(())
    })
    .unwrap();
}

#[test]
fn five_hosts_reach_each_other_and_this_machine() {
    if !can_boot() {
        return;
    }
    let from = Instant::now();
    let hosts = Hosts::start(5).unwrap();
    eprintln!("five hosts booted in {:?}", from.elapsed());
    assert_eq!(hosts.iter().count(), 5);
    let listener = TcpListener::bind((hosts.coordinator_address(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = std::thread::spawn(move || {
        for _ in 0..5 {
            let (mut stream, from) = listener.accept().unwrap();
            write!(stream, "{}", from.ip()).unwrap();
        }
    });
    for host in hosts.iter() {
        assert_eq!(run(host, &["hostname"]).trim(), host.name());
        assert_eq!(run(host, &["cat", "/proc/1/comm"]).trim(), "systemd");
        for other in hosts.iter() {
            run(host, &["ping", "-c1", "-W5", other.name()]);
        }
        let ask = format!("cat </dev/tcp/{}/{port}", hosts.coordinator_address());
        assert_eq!(
            run(host, &["bash", "-c", &ask]),
            host.address().to_string(),
            "as this machine sees it"
        );
    }
    answers.join().unwrap();
}

/// Services of the same name on two hosts have nothing to do with each other.
#[test]
fn a_service_is_the_host_s_own() {
    if !can_boot() {
        return;
    }
    let hosts = Hosts::start(2).unwrap();
    for host in hosts.iter() {
        run(host, &["systemd-run", "--unit=clock", "sleep", "infinity"]);
    }
    run(
        hosts.host("n01").unwrap(),
        &["systemctl", "kill", "--signal=KILL", "clock"],
    );
    let first = hosts.host("n01").unwrap();
    wait_for("the service to end", PATIENCE, || {
        (first.run(&["systemctl", "is-active", "clock"]).ok()?.code != 0).then_some(())
    })
    .unwrap();
    run(hosts.host("n02").unwrap(), &["systemctl", "is-active", "clock"]);
}

#[test]
fn limits_of_a_service_hold() {
    if !can_boot() {
        return;
    }
    let hosts = Hosts::start(1).unwrap();
    let host = hosts.host("n01").unwrap();
    let limited = |limit: &str, script: &str| {
        let service = ["systemd-run", "--quiet", "--wait", "--pipe", "-p", limit];
        host.run(&[&service[..], &["bash", "-c", script]].concat())
            .unwrap()
    };
    // The shell would try again for half a minute.
    let forks = "timeout 1 bash -c 'for i in {1..8}; do sleep 60 & done'";
    assert_eq!(limited("TasksMax=50", forks).code, 0);
    let refused = limited("TasksMax=5", forks);
    assert!(
        refused.stderr.contains("Resource temporarily unavailable"),
        "{refused:?}"
    );
    // With no line in it, tail has to keep all.
    let keep = "set -o pipefail; head -c 60000000 /dev/zero | tail >/dev/null";
    assert_eq!(limited("MemoryMax=500M", keep).code, 0);
    assert_ne!(limited("MemoryMax=20M", keep).code, 0);
}

#[test]
fn a_host_that_is_not_well_says_what_failed() {
    if !can_boot() {
        return;
    }
    let mut hosts = Hosts::start(1).unwrap();
    let host = hosts.host_mut("n01").unwrap();
    let unit = "[Service]\nExecStart=false\n\n[Install]\nWantedBy=multi-user.target\n";
    host.write("/etc/systemd/system/broken.service", unit.as_bytes(), 0o644)
        .unwrap();
    run(host, &["systemctl", "enable", "broken"]);
    run(host, &["sync"]);
    host.pull_the_plug().unwrap();
    let error = host.boot().unwrap_err().to_string();
    assert!(
        error.contains("degraded") && error.contains("broken.service"),
        "{error}"
    );
}

#[test]
fn files_come_back_as_they_were_written() {
    if !can_boot() {
        return;
    }
    let hosts = Hosts::start(1).unwrap();
    let host = hosts.host("n01").unwrap();
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    host.write("/var/lib/deep/down/file", &bytes, 0o640).unwrap();
    assert_eq!(host.read("/var/lib/deep/down/file").unwrap(), bytes);
    let mode = run(host, &["stat", "--format=%a %U", "/var/lib/deep/down/file"]);
    assert_eq!(mode.trim(), "640 root");
    assert!(host.read("/nowhere").is_err());
    assert_eq!(host.run(&["sh", "-c", "echo no >&2; exit 7"]).unwrap().code, 7);
}

#[test]
fn a_network_is_cut_and_mended() {
    if !can_boot() {
        return;
    }
    let mut hosts = Hosts::start(3).unwrap();
    let outside = hosts.coordinator_address();
    let second = hosts.host("n02").unwrap().address();
    let third = hosts.host("n03").unwrap();
    let first = hosts.host("n01").unwrap();
    wait_until_reaches(first, outside);
    wait_until_reaches(first, second);

    first.cut_network().unwrap();
    assert!(!reaches(first, outside) && !reaches(first, second));
    wait_until_reaches(third, outside);
    wait_until_reaches(third, second);
    first.mend_network().unwrap();
    wait_until_reaches(first, outside);
    wait_until_reaches(first, second);
    first.mend_network().unwrap();

    // One way: what n01 sends arrives, and it hears no answer.
    let socket = UdpSocket::bind((outside, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let send = format!(
        "echo -n heard >/dev/udp/{outside}/{}",
        socket.local_addr().unwrap().port()
    );
    let hears = || {
        run(first, &["bash", "-c", &send]);
        let mut word = [0; 16];
        socket
            .recv(&mut word)
            .is_ok_and(|length| &word[..length] == b"heard")
    };
    first.cut_one_way(Cut::ToHost).unwrap();
    assert!(hears());
    assert!(!reaches(first, outside));
    first.mend_network().unwrap();
    first.cut_one_way(Cut::FromHost).unwrap();
    assert!(!hears());

    // A reboot mends no cable.
    let first = hosts.host_mut("n01").unwrap();
    first.cut_network().unwrap();
    first.pull_the_plug().unwrap();
    first.boot().unwrap();
    assert!(!reaches(first, outside));
    first.mend_network().unwrap();
    wait_until_reaches(first, outside);
}

#[test]
fn a_full_disk_has_no_room_until_it_is_freed() {
    if !can_boot() {
        return;
    }
    let mut hosts = Hosts::start(1).unwrap();
    let host = hosts.host_mut("n01").unwrap();
    let write = [
        "dd",
        "if=/dev/zero",
        "of=/var/lib/more",
        "bs=64k",
        "count=1",
        "conv=fsync",
    ];
    run(host, &write);
    run(host, &["rm", "/var/lib/more"]);
    host.fill_disk().unwrap();
    let refused = host.run(&write).unwrap();
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("No space left on device"),
        "{}",
        refused.stderr
    );

    host.pull_the_plug().unwrap();
    host.power_on().unwrap();
    host.wait_until_running().unwrap();
    assert_ne!(host.run(&write).unwrap().code, 0, "it is as full as it was");
    host.free_disk().unwrap();
    run(host, &write);
}
