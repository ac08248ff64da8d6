//! A pod whose first process is the agent: it gets in by itself, proves what it runs before it
//! is ready, leaves no zombies, ends in order and in time, and goes on where it was.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::time::Duration;

use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::pod::{self, Pod, STATE};
use fleet_tests::wait::wait_for;
use nix::sys::signal::Signal;

/// It leaves orphans behind all the time, and notes what it is told.
const FORKER: &str = "#!/bin/sh
trap 'echo \"$1 stopped\" >>/srv/order; exit 0' TERM
trap 'echo \"$1 hung up\" >>/srv/order' HUP
echo \"$1 started\" >>/srv/order
while :; do
    (sh -c 'sleep 0.05 & exit 0')
    (setsid sh -c 'sleep 0.05 & exit 0')
    sleep 0.1 & wait $!
done
";

fn piece(name: &'static str, check: &str) -> Piece {
    let run = format!("kind = \"supervise\"\ncommand = [\"./run\", \"{name}\"]\ngrace = \"5s\"\n{check}");
    Piece::new(name, run).with("run", FORKER)
}

const CHECK: &str = "[[component.check]]\nname = \"well\"\nkind = \"exec\"\ninterval = \"100ms\"\ntimeout = \"5s\"\n\
     command = [\"test\", \"-e\", \"/srv/well\"]\n";

fn pod_of(fleet: &Fleet, pod: &Pod) {
    let token = fleet
        .token(&["--label", "zone=a", "--uses", "1", "--ephemeral"])
        .unwrap();
    pod.mount("join-token", &token).unwrap();
    // An `emptyDir` is not the pod's own; what is below it is.
    let state = format!("{STATE}/agent");
    let config = fleet.agent_config("p01", state.as_ref(), 1);
    let top = "health_listen = \"127.0.0.1:9180\"\n";
    let more = "\n[enrol]\ntoken_file = \"/mnt/join-token\"\n\n[pod]\nstop_deadline = \"20s\"\npass_on = [\"SIGHUP\"]\n";
    pod.mount("agent.toml", &format!("{top}{config}{more}")).unwrap();
}

fn is(pod: &Pod, probe: &str) -> bool {
    pod.exec(&["health", probe]).unwrap().0
}

fn wait_until(pod: &Pod, what: &str, mut look: impl FnMut() -> bool) {
    wait_for(what, PATIENCE, || look().then_some(())).unwrap_or_else(|error| {
        let processes = pod.processes();
        unreachable!("{error:#}\n{processes:?}\n{}", pod.log())
    });
}

fn order(pod: &Pod) -> Vec<String> {
    let text = std::fs::read_to_string(pod.file("order")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_pod_gets_in_proves_itself_reaps_ends_in_order_and_goes_on() {
    if !pod::can_run() {
        return;
    }
    let mut pod = Pod::lay_out().unwrap();
    let fleet = Fleet::with_coordinator_at(pod.outside()).unwrap();
    pod_of(&fleet, &pod);
    pod.start().unwrap();
    wait_until(&pod, "the agent to live", || is(&pod, "--live"));
    wait_until(&pod, "the pod to get in", || {
        fleet.wait_for_connections(1).is_ok()
    });
    assert!(!is(&pod, "--ready"), "nothing runs yet");

    // It is told to run something that does not do yet: not ready; and then it does.
    push(
        &fleet,
        "v1.0.0",
        "60s",
        &[piece("back", ""), piece("front", CHECK)],
    )
    .unwrap();
    let rollout = fleet.ctl_beside(&["rollout", "v1.0.0"]).unwrap();
    wait_until(&pod, "both to run", || order(&pod).len() == 2);
    assert_eq!(order(&pod), ["back started", "front started"]);
    assert!(!is(&pod, "--ready") && is(&pod, "--live"));
    pod.write("well", "").unwrap();
    let ended = rollout.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}\n{}", pod.log());
    wait_until(&pod, "the pod to be ready", || is(&pod, "--ready"));

    not_a_soul_is_left_over(&pod);
    it_may_do_nothing_but_its_work(&pod);

    pod.signal(Signal::SIGHUP).unwrap();
    wait_until(&pod, "the signal to reach the apps", || {
        order(&pod)
            .iter()
            .filter(|line| line.ends_with("hung up"))
            .count()
            == 2
    });

    // What ran runs again, in order, with nobody's help; its processes are new ones.
    fleet_goes_on_after_a_kill(&mut pod);

    let told = std::time::Instant::now();
    pod.signal(Signal::SIGTERM).unwrap();
    let ended = pod.wait().unwrap();
    assert!(ended.success(), "{ended}\n{}", pod.log());
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
    let order = order(&pod);
    let last: Vec<&str> = order.iter().rev().take(2).rev().map(String::as_str).collect();
    assert_eq!(last, ["front stopped", "back stopped"], "{order:?}");
}

/// Whatever lost its parent has been taken leave of.
fn not_a_soul_is_left_over(pod: &Pod) {
    // Hundreds of orphans by now; each is a zombie for an instant at most.
    let mut before = std::collections::BTreeSet::new();
    for look in 0..20 {
        let zombies: std::collections::BTreeSet<_> = pod
            .processes()
            .unwrap()
            .into_iter()
            .filter(|(_, _, state)| *state == 'Z')
            .map(|(pid, _, _)| pid)
            .collect();
        if look > 0 {
            before.retain(|pid| zombies.contains(pid));
        } else {
            before = zombies;
        }
        if before.is_empty() {
            return;
        }
        let _news = pod.exec(&["health", "--live"]);
    }
    unreachable!("zombies that stay: {before:?}");
}

fn it_may_do_nothing_but_its_work(pod: &Pod) {
    let first = pod.first().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "{status}");
    }
    assert!(status.contains(&format!("Uid:\t{0}\t{0}", pod::USER)), "{status}");
    // Whoever is below it is nobody else.
    for (pid, name, _) in pod.processes().unwrap() {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(
            status.is_empty() || status.contains(&format!("Uid:\t{}", pod::USER)),
            "{name}"
        );
    }
}

fn fleet_goes_on_after_a_kill(pod: &mut Pod) {
    pod.write("order", "").unwrap();
    pod.kill().unwrap();
    pod.start().unwrap();
    let pod = &*pod;
    wait_until(pod, "the pod to be ready again", || is(pod, "--ready"));
    assert_eq!(order(pod), ["back started", "front started"]);
    not_a_soul_is_left_over(pod);
}

/// Apps that do not end hold up the end of the pod for as long as it is told, and no longer.
#[test]
fn a_pod_ends_in_time_whatever_its_apps_do() {
    if !pod::can_run() {
        return;
    }
    let mut pod = Pod::lay_out().unwrap();
    let fleet = Fleet::with_coordinator_at(pod.outside()).unwrap();
    pod_of(&fleet, &pod);
    let config = std::fs::read_to_string(pod.directory().join("mnt/agent.toml")).unwrap();
    pod.mount(
        "agent.toml",
        &config.replace("stop_deadline = \"20s\"", "stop_deadline = \"1s\""),
    )
    .unwrap();
    pod.start().unwrap();
    wait_until(&pod, "the pod to get in", || {
        fleet.wait_for_connections(1).is_ok()
    });
    let deaf = "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1000; done\n";
    let run = "kind = \"supervise\"\ncommand = [\"./run\"]\ngrace = \"60s\"\n";
    push(
        &fleet,
        "v1.0.0",
        "60s",
        &[Piece::new("deaf", run).with("run", deaf)],
    )
    .unwrap();
    assert_eq!(
        fleet.ctl(&["rollout", "v1.0.0"]).unwrap().code,
        0,
        "{}",
        pod.log()
    );
    let told = std::time::Instant::now();
    pod.signal(Signal::SIGTERM).unwrap();
    let ended = pod.wait().unwrap();
    assert!(!ended.success(), "it did not stop, and says that it did");
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert!(pod.log().contains("did not stop within 1s"), "{}", pod.log());
}

/// Whoever is refused says so and ends; the kubelet starts it again, more slowly each time.
#[test]
fn a_pod_that_is_refused_ends_and_says_why() {
    if !pod::can_run() {
        return;
    }
    let mut pod = Pod::lay_out().unwrap();
    let fleet = Fleet::with_coordinator_at(pod.outside()).unwrap();
    pod_of(&fleet, &pod);
    let token = fleet.token(&["--uses", "1"]).unwrap();
    let id = token.split('.').nth(1).unwrap();
    pod.mount("join-token", &token).unwrap();
    assert_eq!(fleet.ctl(&["token", "revoke", id]).unwrap().code, 0);
    pod.start().unwrap();
    assert!(!pod.wait().unwrap().success());
    assert!(pod.log().contains("was revoked"), "{}", pod.log());
}
