//! What may happen next, at random.

use fleet_coordinator::rollout::event::Urgency;
use fleet_coordinator::rollout::gate::{Insistence, WithActive, WithKnownBad};
use fleet_coordinator::rollout::input::{Intent, RollBack};
use fleet_proto::ids::RolloutNumber;
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::OnFailure;
use fleet_proto::waves::WaveSpec;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::fleet::{Fortune, app, other_app};

#[derive(Debug, Clone)]
pub enum Move {
    RollOut(Intent),
    Pause,
    Resume(Option<WaveSpec>),
    Abort,
    RollBack(RollBack),
    Retry,
    Halt,
    Unhalt,
    Cordon(usize),
    Uncordon(usize),
    /// Into the environment's selector and out of it.
    Relabel(usize),
    Deliver {
        node: usize,
        twice: bool,
    },
    Advance {
        node: usize,
        fortune: Fortune,
    },
    AllAdvance(Fortune),
    Sicken(usize),
    /// It says again how it is.
    Repeat(usize),
    Disconnect(usize),
    Connect(usize),
    Pass(u64),
    RestartCoordinator,
}

pub fn moves(most: usize) -> impl Strategy<Value = Vec<Move>> {
    vec(next_move(), 1..most)
}

fn fortune() -> impl Strategy<Value = Fortune> {
    prop_oneof![
        8 => Just(Fortune::Good),
        1 => Just(Fortune::Bad),
        1 => Just(Fortune::NoBytes),
    ]
}

fn next_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => intent().prop_map(Move::RollOut),
        1 => Just(Move::Pause),
        2 => option::weighted(0.3, waves()).prop_map(Move::Resume),
        1 => Just(Move::Abort),
        1 => roll_back().prop_map(Move::RollBack),
        1 => Just(Move::Retry),
        1 => prop_oneof![1 => Just(Move::Halt), 2 => Just(Move::Unhalt)],
        1 => (0..40_usize).prop_flat_map(|node| {
            prop_oneof![
                2 => Just(Move::Cordon(node)),
                3 => Just(Move::Uncordon(node)),
                1 => Just(Move::Relabel(node)),
            ]
        }),
        8 => (0..40_usize, prop::bool::weighted(0.1)).prop_map(|(node, twice)| Move::Deliver { node, twice }),
        8 => (0..40_usize, fortune()).prop_map(|(node, fortune)| Move::Advance { node, fortune }),
        14 => fortune().prop_map(Move::AllAdvance),
        1 => (0..40_usize).prop_map(Move::Sicken),
        2 => (0..40_usize).prop_map(Move::Repeat),
        1 => (0..40_usize).prop_map(Move::Disconnect),
        2 => (0..40_usize).prop_map(Move::Connect),
        4 => prop_oneof![Just(100_u64), Just(3_000), Just(12_000), Just(700_000)].prop_map(Move::Pass),
        1 => Just(Move::RestartCoordinator),
    ]
}

fn waves() -> impl Strategy<Value = WaveSpec> {
    prop_oneof![
        Just("100"),
        Just("10,50,100"),
        Just("1n,25,100"),
        Just("50"),
        Just("10,50"),
        Just("2n")
    ]
    .prop_map(|text| text.parse().unwrap())
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        (0..4_u32).prop_map(Amount::Count),
        (0..=100_u8).prop_map(Amount::Percent)
    ]
}

fn intent() -> impl Strategy<Value = Intent> {
    (
        prop_oneof![
            3 => prop_oneof![Just("v1"), Just("v2"), Just("v3")].prop_map(|version| (app(), version)),
            1 => prop_oneof![Just("v1"), Just("v2")].prop_map(|version| (other_app(), version)),
        ],
        option::of(waves()),
        option::of(amount()),
        option::of(amount()),
        option::of(amount()),
        option::of(amount()),
        prop_oneof![Just(None), Just(Some(OnFailure::Pause))],
        prop_oneof![Just(0_u64), Just(5)],
        insistence(),
    )
        .prop_map(
            |(
                (app, version),
                waves,
                in_flight,
                unavailable,
                failures,
                unreachable,
                on_failure,
                bake,
                insistence,
            )| {
                Intent {
                    app: Some(app),
                    version: Some(version.parse().unwrap()),
                    waves,
                    bake: vec![Span::from_secs(bake)],
                    max_in_flight: in_flight,
                    max_unavailable: unavailable,
                    max_failures: failures,
                    max_unreachable: unreachable,
                    on_failure,
                    reason: Some("as it happens".to_owned()),
                    insistence,
                    ..Intent::default()
                }
            },
        )
}

fn urgency() -> impl Strategy<Value = Urgency> {
    prop_oneof![6 => Just(Urgency::Ordinary), 1 => Just(Urgency::Emergency)]
}

fn insistence() -> impl Strategy<Value = Insistence> {
    (
        urgency(),
        prop_oneof![3 => Just(WithActive::Refuse), 1 => Just(WithActive::Supersede)],
        prop_oneof![Just(WithKnownBad::Refuse), Just(WithKnownBad::TryAgain)],
    )
        .prop_map(|(urgency, active, known_bad)| Insistence {
            urgency,
            active,
            known_bad,
        })
}

fn roll_back() -> impl Strategy<Value = RollBack> {
    (
        option::of(1..6_u64),
        prop_oneof![3 => Just(None), 1 => Just(Some("v1"))],
        prop_oneof![3 => Just(app()), 1 => Just(other_app())],
        urgency(),
    )
        .prop_map(|(number, to, app, urgency)| RollBack {
            urgency,
            reason: Some("as it happens".to_owned()),
            app: Some(app),
            number: number.map(RolloutNumber),
            to: to.map(|version| version.parse().unwrap()),
            ..RollBack::default()
        })
}
