//! Some thousands of bytes that nobody would send, for each parser, every time. `make fuzz`
//! takes more of them.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::chance::Chance;
use fleet_tests::fuzz::TARGETS;
use fleet_tests::layers::workspace;

/// A second or so for each parser, unoptimised.
const ROUNDS: usize = 3000;
/// What breaks parsers, wherever it comes.
const TOKENS: [&[u8]; 12] = [
    b"..",
    b"/",
    b"\0",
    b"\x1b[",
    b"\xff",
    b"{",
    b"[",
    b"\"",
    b"\\u0000",
    b"-1",
    b"18446744073709551616",
    b"\n",
];

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = workspace().join("tests/fuzz/seeds").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .flatten()
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

fn at(chance: &mut Chance, bytes: &[u8]) -> usize {
    usize::try_from(chance.between(0, bytes.len() as u64 + 1)).unwrap()
}

/// One change: a bit, a byte, a piece gone, doubled or taken from another seed, a token.
fn change(chance: &mut Chance, bytes: &mut Vec<u8>, other: &[u8]) {
    let (from, to) = (at(chance, bytes), at(chance, bytes));
    let (from, to) = (from.min(to), from.max(to));
    match chance.between(0, 6) {
        0 if from < bytes.len() => bytes[from] ^= 1 << chance.between(0, 8),
        1 if from < bytes.len() => bytes[from] = u8::try_from(chance.between(0, 256)).unwrap(),
        2 => drop(bytes.drain(from..to)),
        3 => {
            let piece = bytes[from..to].to_vec();
            bytes.splice(to..to, piece);
        }
        4 => {
            let (start, end) = (at(chance, other), at(chance, other));
            bytes.splice(from..from, other[start.min(end)..start.max(end)].iter().copied());
        }
        _ => {
            let token = usize::try_from(chance.between(0, TOKENS.len() as u64)).unwrap();
            bytes.splice(from..from, TOKENS[token].iter().copied());
        }
    }
    bytes.truncate(1 << 16);
}

#[test]
fn no_bytes_do_more_than_be_refused() {
    let mut chance = Chance::from_environment();
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        for (seed, bytes) in &seeds {
            assert_eq!(target(bytes), seed.starts_with("sound"), "{name}/{seed}");
            // Torn anywhere.
            for length in 0..bytes.len() {
                target(&bytes[..length]);
            }
        }
        for _ in 0..ROUNDS {
            let one = usize::try_from(chance.between(0, seeds.len() as u64)).unwrap();
            let other = usize::try_from(chance.between(0, seeds.len() as u64)).unwrap();
            let mut bytes = seeds[one].1.clone();
            for _ in 0..chance.between(1, 5) {
                change(&mut chance, &mut bytes, &seeds[other].1);
            }
            target(&bytes);
        }
    }
}

/// The smoke test, the fuzz targets and their seeds are of the same parsers.
#[test]
fn each_parser_has_a_target_and_seeds() {
    let manifest = std::fs::read_to_string(workspace().join("tests/fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let target =
            std::fs::read_to_string(workspace().join(format!("tests/fuzz/targets/{name}.rs"))).unwrap();
        assert!(
            target.contains(&format!("fleet_tests::fuzz::{name}(bytes)")),
            "{target}"
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")),
            "{name}"
        );
        assert!(!seeds(name).is_empty(), "{name}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
