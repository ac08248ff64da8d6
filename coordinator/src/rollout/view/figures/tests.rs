#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::digest::Digest;
use fleet_proto::ids::OperatorName;
use fleet_proto::labels::Labels;
use fleet_proto::release::{HealthRules, Platform, ReleaseRef, Strategy};

use super::*;
use crate::rollout::event::{CatchUp, Event, PushRelease, Stamped};
use crate::rollout::input::{Author, Input, Intent, Request, Settings};
use crate::rollout::turn::turn;

fn release(version: &str) -> ReleaseRef {
    ReleaseRef {
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
    }
}

fn node(state: &mut State, name: &str, environment: &str, connection: Connection) {
    let platform: Platform = "linux/amd64".parse().unwrap();
    let mut node = Node::enrolled(&platform, Digest::of(b""), Timestamp(0), Timestamp(0));
    node.labels = Labels::from([("env".to_owned(), environment.to_owned())]);
    node.connection = connection;
    let runs = NodeApp {
        current: Some(release("v0")),
        last_good: Some(release("v0")),
        health: Health::Healthy,
        ..NodeApp::default()
    };
    node.apps.insert("shop".parse().unwrap(), runs);
    state.nodes.insert(name.parse().unwrap(), node);
}

/// Two environments; three nodes in one, one in the other, one in none.
fn fleet() -> State {
    let mut state = State::default();
    let gone = Connection::Unreachable { since: Timestamp(0) };
    node(&mut state, "n1", "prod", Connection::Connected);
    node(&mut state, "n2", "prod", gone);
    node(&mut state, "n3", "prod", Connection::Expired { at: Timestamp(7) });
    node(&mut state, "n4", "test", Connection::Connected);
    node(&mut state, "n5", "nowhere", Connection::Connected);
    let defined = ["prod", "test"].map(|name| Event::EnvironmentDefined {
        environment: name.parse().unwrap(),
        select: format!("env={name}").parse().unwrap(),
        catch_up: CatchUp::Manual,
    });
    let push = PushRelease {
        app: "shop".parse().unwrap(),
        release: release("v1"),
        counter: 1,
        components: vec!["web".parse().unwrap()],
        platforms: vec![Platform::any()],
        strategy: Strategy::default(),
        healthy_deadline: HealthRules::default().healthy_deadline,
        migration: None,
        signed_by: vec![],
    };
    let pushed = Event::ReleasePushed {
        push: Box::new(push),
        by: "test".into(),
    };
    let events = [Event::TookCharge { term: 1 }].into_iter().chain(defined);
    for event in events.chain([pushed]) {
        let position = state.position + 1;
        let at = Timestamp(1_000);
        state.apply(&Stamped { position, at, event }).unwrap();
    }
    state
}

fn place(name: &str) -> Place {
    Some(name)
        .filter(|name| !name.is_empty())
        .map(|name| name.parse().unwrap())
}

fn shop(figures: &Figures, environment: &str) -> OfApp {
    let pair = ("shop".parse().unwrap(), environment.parse().unwrap());
    figures.of_apps[&pair].clone()
}

#[test]
fn every_node_is_counted_once_and_where_it_is() {
    let figures = figures(&fleet(), Timestamp(2_000));
    for (environment, word, count) in [
        ("prod", "connected", 1),
        ("prod", "unreachable", 1),
        ("prod", "expired", 1),
        ("test", "connected", 1),
        ("", "connected", 1),
    ] {
        let found = figures.of_places[&place(environment)].connections.get(word);
        assert_eq!(found, Some(&count), "{environment} {word}");
    }
    let all = figures.of_places.values().flat_map(|of| of.connections.values());
    assert_eq!(all.sum::<u64>(), 5);
    assert_eq!(figures.of_places[&place("prod")].expired_at, Some(Timestamp(7)));
    // Of one that is away nobody knows how it is.
    assert_eq!(
        shop(&figures, "prod").conditions,
        [("healthy", 1), ("unknown", 1)].into()
    );
    assert_eq!(shop(&figures, "test").rollouts, BTreeMap::new());
}

#[test]
fn a_rollout_is_counted_with_its_steps_and_what_it_waits_for() {
    let mut state = fleet();
    let tester: OperatorName = "test".parse().unwrap();
    state.admins.insert(tester.clone());
    let mut ask = |request, now| {
        let by = Author::Operator(tester.clone());
        let input = Input::Request { by, request };
        let turned = turn(&mut state, &[input], &Settings::default(), Timestamp(now)).unwrap();
        assert!(turned.answers.iter().all(Result::is_ok), "{:?}", turned.answers);
        state.clone()
    };
    let intent = Intent {
        app: Some("shop".parse().unwrap()),
        environment: Some("test".parse().unwrap()),
        version: Some("v1".parse().unwrap()),
        ..Intent::default()
    };
    let state = ask(Request::StartRollout(intent), 10_000);
    let running = shop(&figures(&state, Timestamp(13_000)), "test");
    assert_eq!(running.rollouts, [("running", 1)].into());
    assert_eq!((running.in_flight, running.steps), (1, [("fetching", 1)].into()));
    let waits = Wait {
        rollouts: 1,
        longest: Span::from_secs(3),
    };
    assert_eq!(running.waits, [("nodes", waits)].into());
    let ended = ask(
        Request::Abort {
            number: fleet_proto::ids::RolloutNumber(1),
            reason: None,
        },
        14_000,
    );
    let ended = shop(&figures(&ended, Timestamp(15_000)), "test");
    assert_eq!(ended.ended, [("aborted", Timestamp(14_000))].into());
    assert_eq!(ended.rollouts.get("aborted"), Some(&1));
}
