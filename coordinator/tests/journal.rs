//! The journal's promises, against reopening, torn tails, flipped bits and rivals.

#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fleet_coordinator::journal::{Journal, JournalError, Recovered};
use proptest::prelude::*;

fn record(number: u64) -> Vec<u8> {
    // Sizes from nothing to many parts, some of them compressible.
    let bytes = usize::try_from(number * 997 % 9000).unwrap();
    (0..bytes).map(|at| (at as u64 * number % 251) as u8).collect()
}

fn append(journal: &mut Journal, records: std::ops::RangeInclusive<u64>) {
    let records: Vec<Vec<u8>> = records.map(record).collect();
    journal.append(1, journal.end(), &records).unwrap();
}

fn refused(directory: &Path) -> JournalError {
    match Journal::open(directory) {
        Ok(_) => unreachable!("the journal was opened"),
        Err(error) => error,
    }
}

fn expected(records: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
    records.map(|number| (number, record(number))).collect()
}

#[test]
fn records_are_there_after_reopening_with_and_without_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let (
        mut journal,
        Recovered {
            records, snapshot, ..
        },
    ) = Journal::open(directory.path()).unwrap();
    assert!(records.is_empty() && snapshot.is_none());
    append(&mut journal, 1..=5);
    append(&mut journal, 6..=30);
    drop(journal);

    let (mut journal, recovered) = Journal::open(directory.path()).unwrap();
    assert_eq!(recovered.records, expected(1..=30));
    assert_eq!((journal.end(), journal.term(), recovered.cut), (30, 1, None));
    journal.save_snapshot(30, b"as of 30").unwrap();
    append(&mut journal, 31..=40);
    assert_eq!(journal.read(29, 3).unwrap(), expected(29..=31));
    drop(journal);

    let (journal, recovered) = Journal::open(directory.path()).unwrap();
    assert_eq!(recovered.snapshot.unwrap().bytes, b"as of 30");
    assert_eq!(recovered.records, expected(31..=40));
    assert_eq!(journal.end(), 40);
}

#[test]
fn a_record_may_be_large_and_the_engine_keeps_no_files_beside_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    let mut noise = 1_u64;
    let large: Vec<u8> = (0..2 << 20)
        .map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        })
        .collect();
    for _ in 0..3 {
        journal
            .append(1, journal.end(), &[large.clone(), vec![]])
            .unwrap();
    }
    drop(journal);
    let (_, recovered) = Journal::open(directory.path()).unwrap();
    assert_eq!(recovered.records.len(), 6);
    assert!(
        recovered
            .records
            .iter()
            .step_by(2)
            .all(|(_, bytes)| *bytes == large)
    );
    // Such files would not be synced (see `record`).
    assert_eq!(
        fs::read_dir(directory.path().join("engine/blobs"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn an_old_term_and_a_wrong_place_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    journal.append(4, 0, &[vec![1]]).unwrap();
    assert_eq!(
        journal.append(3, 1, &[vec![2]]).unwrap_err().to_string(),
        "an append in term 3 was refused: the journal has seen term 4"
    );
    assert_eq!(
        journal.append(4, 0, &[vec![2]]).unwrap_err().to_string(),
        "an append after position 0 was refused: the journal ends at 1"
    );
    // Taking charge without an event is remembered too.
    journal.append(5, 1, &[]).unwrap();
    drop(journal);
    let (_, recovered) = Journal::open(directory.path()).unwrap();
    assert_eq!((recovered.term, recovered.records.len()), (5, 1));
}

#[test]
fn a_second_coordinator_on_the_same_state_is_refused_and_told_who_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path()).unwrap();
    let message = refused(directory.path()).to_string();
    let holder = format!("another coordinator (process {})", std::process::id());
    assert!(message.starts_with(&holder), "{message}");
    drop(journal);
    Journal::open(directory.path()).unwrap();
}

/// Writes what a coordinator leaves that was cut off while it wrote: changes the
/// engine's content underneath the journal.
fn with_engine(directory: &Path, change: impl FnOnce(&sled::Db)) {
    // The journal that was just closed lets go of the file a moment later.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let db = loop {
        match sled::open(directory.join("engine")) {
            Ok(db) => break db,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    change(&db);
    db.flush().unwrap();
}

fn key(position: u64, part: u16) -> Vec<u8> {
    [&position.to_be_bytes()[..], &part.to_be_bytes()[..]].concat()
}

#[test]
fn a_torn_tail_is_cut_put_aside_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    append(&mut journal, 1..=10);
    drop(journal);
    with_engine(directory.path(), |db| {
        db.insert(key(11, 0), &b"half a record"[..]).unwrap();
    });

    let (mut journal, recovered) = Journal::open(directory.path()).unwrap();
    let cut = recovered.cut.unwrap();
    assert_eq!((cut.from, cut.records_lost), (11, 1));
    assert_eq!(recovered.records, expected(1..=10));
    assert!(directory.path().join("quarantine-11.hex").is_file());
    append(&mut journal, 11..=12);
    drop(journal);
    let (_, recovered) = Journal::open(directory.path()).unwrap();
    assert_eq!((recovered.records, recovered.cut), (expected(1..=12), None));
}

#[test]
fn damage_before_sound_records_is_no_torn_tail() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    append(&mut journal, 1..=10);
    drop(journal);
    with_engine(directory.path(), |db| {
        db.insert(key(4, 0), &b"something that is no record at all"[..])
            .unwrap();
    });
    let message = refused(directory.path()).to_string();
    assert!(message.contains("record 4: "), "{message}");
    assert!(message.contains("record 5 behind it is sound"), "{message}");
    assert!(
        message.contains("hint: restore the directory from a backup"),
        "{message}"
    );
    with_engine(directory.path(), |db| {
        db.remove(key(4, 0)).unwrap();
    });
    let message = refused(directory.path()).to_string();
    assert!(message.contains("record 4"), "{message}");
}

#[test]
fn acknowledged_records_that_vanished_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path()).unwrap();
    for number in 1..=10 {
        append(&mut journal, number..=number);
    }
    drop(journal);
    with_engine(directory.path(), |db| {
        let gone: Vec<_> = db.range(key(9, 0)..key(11, 0)).keys().collect();
        for key in gone {
            db.remove(key.unwrap()).unwrap();
        }
    });
    let message = refused(directory.path()).to_string();
    assert!(
        message.contains("10 records were acknowledged, and only 8 can be read"),
        "{message}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever bit flips in the engine's file: what comes back is what was written,
    /// or an error; never something else, and never silently less.
    #[test]
    fn a_flipped_bit_is_never_misread(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        for number in 1..=20 {
            append(&mut journal, number..=number);
        }
        drop(journal);

        let data = fs::File::options().read(true).write(true).open(directory.path().join("engine/db")).unwrap();
        let content = fs::read(directory.path().join("engine/db")).unwrap();
        // Zeroes are room that was never written; flips there say nothing.
        let written: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
        let at = written[place.index(written.len())];
        data.write_all_at(&[content[at] ^ (1 << bit)], at as u64).unwrap();
        drop(data);

        match Journal::open(directory.path()) {
            Ok((_, recovered)) => prop_assert_eq!(recovered.records, expected(1..=20)),
            Err(JournalError::Damaged { .. } | JournalError::Engine { .. }) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
