//! Every key, every mark, and where to go to act.

use ratatui::text::Line;

use super::colours::{Colours, Mood};
use super::panel::span;
use super::standing::Standing;

const KEYS: [(&str, &str); 9] = [
    ("q, Ctrl-C", "quit; the fleet does not notice"),
    ("Tab", "between rollouts and nodes"),
    ("arrows, h j k l", "select a rollout or a node; scroll on a page"),
    ("PgUp, PgDn, Home, End", "further, and to the ends"),
    ("Enter", "open what is selected; Esc goes back"),
    ("g", "nodes by wave or by zone"),
    ("/", "search nodes by name, by zone=a, by failed; Esc ends it"),
    ("Ctrl-L", "draw everything anew"),
    ("?", "this, and back"),
];

const ACTS: [(&str, &str); 6] = [
    ("fleetctl rollout VERSION", "bring a release"),
    ("fleetctl pause N, resume N", "stop between steps, go on"),
    ("fleetctl abort N, rollback", "end it, take it back"),
    ("fleetctl halt --reason …", "stop everything, everywhere"),
    ("fleetctl node drain NODE", "take a node out of service"),
    ("fleetctl explain N", "why it stands where it stands"),
];

pub fn lines(colours: Colours, width: usize) -> Vec<Line<'static>> {
    let strong = colours.style(Mood::Strong);
    let plain = colours.style(Mood::Plain);
    let two = |(left, right): (&'static str, &'static str)| {
        Line::from(vec![span(format!("   {left:<28}"), strong), span(right, plain)])
    };
    let head = |text: &'static str| Line::from(span(text, colours.style(Mood::Quiet)));
    let mut lines = vec![head(" keys")];
    lines.extend(KEYS.map(two));
    lines.push(Line::default());
    lines.push(head(
        " nodes; where a letter stands for several, it is the first of theirs here",
    ));
    lines.extend(letters(colours, width));
    lines.push(Line::default());
    lines.push(head(" bars"));
    lines.push(Line::from(vec![
        span("   █", colours.style(Mood::Good)),
        span(" good  ", plain),
        span("▓", colours.style(Mood::Good)),
        span(" baking  ", plain),
        span("▒", colours.style(Mood::Busy)),
        span(" on its way  ", plain),
        span("X", colours.style(Mood::Bad)),
        span(" failed, lost or going back  ", plain),
        span("░", colours.style(Mood::Quiet)),
        span(" to come", plain),
    ]));
    lines.push(Line::default());
    lines.push(head(
        " nothing here acts, so it may be left open; in another terminal",
    ));
    lines.extend(ACTS.map(two));
    lines
}

fn letters(colours: Colours, width: usize) -> Vec<Line<'static>> {
    const COLUMN: usize = 16;
    let columns = (width.saturating_sub(3) / COLUMN).max(1);
    let row = |standings: &[Standing]| {
        let mut line = Line::from("   ");
        for standing in standings {
            let style = colours.style(standing.mood());
            line.push_span(span(standing.letter().to_string(), style));
            line.push_span(format!(" {:<room$}", standing.word(), room = COLUMN - 2));
        }
        line
    };
    Standing::ALL.chunks(columns).map(row).collect()
}
