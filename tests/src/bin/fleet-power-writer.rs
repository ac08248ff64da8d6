//! Writes as fast as it can, and prints what was acknowledged: a process of its own, so
//! that a test can stop it in the middle of anything and copy its disk.
//!
//!     fleet-power-writer journal|driver DIRECTORY [big]
#![expect(clippy::print_stdout, reason = "its output is the list of promises")]

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use fleet_coordinator::driver::{Charge, Driver};
use fleet_coordinator::journal::Journal;
use fleet_coordinator::rollout::event::{NewToken, Tenure};
use fleet_coordinator::rollout::input::{Author, Request, Settings};
use fleet_proto::digest::Digest;
use fleet_proto::ids::OperatorName;
use fleet_proto::quantity::Span;

const RECORDS_MAX: u64 = 5_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, directory, rest @ ..] = arguments.as_slice() else {
        anyhow::bail!("expected journal|driver DIRECTORY [big]");
    };
    let path = Path::new(directory).join("journal");
    match what.as_str() {
        "journal" => write_records(&path, rest.first().is_some_and(|word| word == "big")),
        "driver" => ask_driver(&path),
        other => anyhow::bail!("`{other}` is neither journal nor driver"),
    }
}

/// Each record begins with its position; snapshots now and then.
fn write_records(path: &Path, big: bool) -> anyhow::Result<()> {
    let (mut journal, _) = Journal::open(path)?;
    while journal.end() < RECORDS_MAX {
        let after = journal.end();
        let records: Vec<Vec<u8>> = (1..=after % 7 + 1).map(|i| record(after + i, big)).collect();
        let end = journal.append(1, after, &records)?;
        println!("{end}");
        if end % 97 < 7 {
            journal.save_snapshot(end, &end.to_be_bytes())?;
        }
    }
    Ok(())
}

fn record(position: u64, big: bool) -> Vec<u8> {
    let mut record = position.to_be_bytes().to_vec();
    if big {
        // Noise, so that compression does not make it small again.
        let mut noise = position;
        record.extend((0..1_000).flat_map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_le_bytes()
        }));
    }
    record
}

/// Join tokens, one after the other; each is printed once the driver has answered.
fn ask_driver(path: &Path) -> anyhow::Result<()> {
    let (journal, recovered) = Journal::open(path)?;
    let charge = Charge {
        admins: ["tester".parse()?].into(),
        ..Charge::default()
    };
    let (driver, handle) = Driver::open(journal, recovered, Settings::default(), charge)?;
    let _ended = driver.spawn()?;
    let tester: OperatorName = "tester".parse()?;
    let runtime = tokio::runtime::Runtime::new()?;
    for i in 0..RECORDS_MAX {
        let id = format!("t{i}");
        let request = Request::CreateToken {
            token: NewToken {
                id: id.parse()?,
                secret_hash: Digest::of(id.as_bytes()),
                node: None,
                labels: BTreeMap::new(),
                uses: 1,
                tenure: Tenure::default(),
            },
            valid_for: Span::from_secs(3600),
        };
        runtime
            .block_on(handle.submit(Author::Operator(tester.clone()), request))
            .context("refused")?;
        println!("{id}");
    }
    Ok(())
}
