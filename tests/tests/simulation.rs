//! A bounded slice of the simulation; `make sim SEEDS=20000` is the whole of it.
#![expect(clippy::panic, reason = "a failed test tells the story of its seed")]

use fleet_tests::sim::storm::{play, run, story::Telling};

fn storms(seeds: std::ops::Range<u64>, nodes: usize) {
    for seed in seeds {
        if let Err(violation) = play(seed, nodes) {
            panic!(
                "{}\n{}\nreplay: fleet-sim --seed {seed} --nodes {nodes} --verbose",
                violation.what,
                violation.story.join("\n")
            );
        }
    }
}

#[test]
fn small_fleets_come_through_storms() {
    storms(0..150, 5);
}

#[test]
fn fleets_come_through_storms() {
    storms(0..8, 50);
}

/// A report after the end of a rollout rewrote why a step had failed (105923).
#[test]
fn what_storms_found_once_stays_mended() {
    storms(105_923..105_924, 10);
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let told = |seed| run(seed, 10, Telling::Everything).1;
    // One writes to the real journal, one to memory.
    for seed in [20, 21] {
        let first = told(seed);
        assert!(first.len() > 100, "{} sentences", first.len());
        assert!(first == told(seed), "seed {seed} went another way");
    }
}
