//! Plays seeds: whole fleets through kills, cuts, full disks and bad releases, with the
//! invariants looked at after every event.
//!
//!     make sim SEEDS=200 NODES=50
//!     fleet-sim --seed 123 --nodes 50 --verbose
#![expect(clippy::print_stdout, reason = "its output is the verdict")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use fleet_tests::sim::storm::story::Telling;
use fleet_tests::sim::storm::{Violation, play, run};
use serde_json::json;

/// Seeds that break something are told of in full up to so many.
const TOLD_MAX: usize = 10;

#[derive(Parser)]
#[command(about = "Plays whole fleets from seeds, and looks whether an invariant breaks")]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    #[arg(long, default_value_t = 50)]
    nodes: usize,
    /// Seeds at once [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
    /// This one only
    #[arg(long)]
    seed: Option<u64>,
    /// Tell everything that happens
    #[arg(long, requires = "seed")]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed.filter(|_| arguments.verbose) {
        return tell(seed, arguments.nodes);
    }
    let (from, seeds) = arguments
        .seed
        .map_or((arguments.from, arguments.seeds), |seed| (seed, 1));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores);
    let began = Instant::now();
    let (events, violations) = play_all(from, seeds, arguments.nodes, threads);
    for violation in violations.iter().take(TOLD_MAX) {
        show(violation);
    }
    for violation in violations.iter().skip(TOLD_MAX) {
        println!("seed {}: {}", violation.seed, violation.what);
    }
    let line = json!({
        "seeds": seeds,
        "nodes": arguments.nodes,
        "events": events,
        "seconds": (began.elapsed().as_secs_f64() * 100.0).round() / 100.0,
        "violations": violations.len(),
    });
    println!("{line}");
    ExitCode::from(u8::from(!violations.is_empty()))
}

fn play_all(from: u64, seeds: u64, nodes: usize, threads: usize) -> (u64, Vec<Violation>) {
    let next = AtomicU64::new(from);
    let events = AtomicU64::new(0);
    let violations = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    match play(seed, nodes) {
                        Ok(ran) => drop(events.fetch_add(ran.events, Ordering::Relaxed)),
                        Err(violation) => {
                            if let Ok(mut violations) = violations.lock() {
                                violations.push(*violation);
                            }
                        }
                    }
                }
            });
        }
    });
    let mut violations = violations.into_inner().unwrap_or_default();
    violations.sort_by_key(|violation: &Violation| violation.seed);
    (events.into_inner(), violations)
}

fn show(violation: &Violation) {
    let Violation {
        seed,
        nodes,
        what,
        story,
    } = violation;
    println!("seed {seed} of {nodes} nodes: {what}");
    for sentence in story {
        println!("  {sentence}");
    }
    println!("  replay: fleet-sim --seed {seed} --nodes {nodes} --verbose\n");
}

fn tell(seed: u64, nodes: usize) -> ExitCode {
    let (outcome, story) = run(seed, nodes, Telling::Everything);
    for sentence in story {
        println!("{sentence}");
    }
    match outcome {
        Ok(ran) => {
            println!(
                "seed {seed} of {nodes} nodes: {} events, {} rollouts, every invariant held",
                ran.events, ran.rollouts
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("seed {seed} of {nodes} nodes: {error:#}");
            ExitCode::FAILURE
        }
    }
}
