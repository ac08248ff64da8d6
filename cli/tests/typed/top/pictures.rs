//! Each picture beside the one that was looked at and found good. After a change on purpose:
//! `BLESS=1 cargo test -p fleetctl --test typed pictures`, and look at what differs.

use std::path::Path;

use fleet_proto::time::Timestamp;
use fleetctl::render::top::keys::Key;
use fleetctl::render::top::model::{Model, News};
use fleetctl::render::top::picture;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::Value;

use super::fleets::{NOW, baking, great, halted, model, moving, quiet, stopped};

const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (60, 15)];

pub fn drawn(model: &Model, here: Timestamp) -> String {
    let (columns, rows) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal
        .draw(|frame| picture(model, here, frame.area(), frame.buffer_mut()))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let row = |row: &[ratatui::buffer::Cell]| {
        let text: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    buffer.content.chunks(usize::from(columns)).map(row).collect()
}

fn check(name: &str, model: &Model, here: Timestamp) {
    let picture = drawn(model, here);
    let (columns, rows) = model.size;
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pictures/{name}-{columns}x{rows}.txt"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &picture).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(picture, expected, "{}:\n{picture}", path.display());
}

fn check_sizes(name: &str, status: &Value) {
    for size in SIZES {
        check(name, &model(status, size), NOW);
    }
}

#[test]
fn pictures_of_a_quiet_fleet() {
    check_sizes("quiet", &quiet());
}

#[test]
fn pictures_of_a_rollout() {
    check_sizes("baking", &baking());
    check_sizes("moving", &moving());
}

#[test]
fn pictures_of_a_bad_release_that_is_stopped() {
    check_sizes("stopped", &stopped());
}

#[test]
fn pictures_of_a_halted_fleet() {
    check_sizes("halted", &halted());
}

#[test]
fn pictures_of_a_great_fleet() {
    check_sizes("great", &great());
}

#[test]
fn pictures_of_a_coordinator_that_is_lost() {
    for size in SIZES {
        let mut model = model(&baking(), size);
        let why = "cannot reach the coordinator at https://fleet.example:7443: connection refused";
        model.take(News::Lost(why.to_owned()), Timestamp(NOW.0 + 3_000));
        check("lost", &model, Timestamp(NOW.0 + 20_000));
    }
}

#[test]
fn pictures_of_pages() {
    for (name, keys) in [
        ("page-rollout", &[Key::Down, Key::Enter][..]),
        ("page-node", &[Key::Tab, Key::Enter]),
        ("page-keys", &[Key::Char('?')]),
        ("by-zone", &[Key::Char('g')]),
        ("search", &[Key::Char('/'), Key::Char('a'), Key::Char('c')]),
    ] {
        let mut model = model(&stopped(), (80, 24));
        for key in keys {
            model.on_key(*key);
        }
        check(name, &model, NOW);
    }
}

/// Whatever the size, there is a picture and no panic.
#[test]
fn every_size_has_a_picture() {
    for status in [quiet(), halted(), stopped()] {
        for (columns, rows) in [
            (1, 1),
            (2, 2),
            (10, 3),
            (20, 5),
            (40, 10),
            (300, 100),
            (60, 1),
            (1, 60),
        ] {
            let mut model = model(&status, (columns, rows));
            drawn(&model, NOW);
            for key in [
                Key::Tab,
                Key::Down,
                Key::Right,
                Key::Enter,
                Key::PageDown,
                Key::Char('?'),
            ] {
                model.on_key(key);
                drawn(&model, NOW);
            }
        }
    }
}
