//! A rollout in one line, and many in a table.

use fleet_proto::release::ReleaseRef;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{LeftOut, RolloutKindView, RolloutView, WaveStateView};

use super::paint::Paint;
use super::table::Table;
use super::time::{ago, span};

/// `3 nodes`, `1 node`.
pub fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// `1 node is`, `3 nodes are`.
pub fn count_is(number: usize, what: &str) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", count(number, what))
}

/// Where a rollout goes: a version, or back to what each node ran well before.
pub fn target(view: &RolloutView) -> String {
    view.release
        .as_ref()
        .map_or_else(|| "last good".to_owned(), ToString::to_string)
}

pub fn kind(view: &RolloutView) -> &'static str {
    match view.kind {
        RolloutKindView::Forward => "rollout",
        RolloutKindView::CatchUp => "catch-up",
        RolloutKindView::Rollback { .. } => "rollback",
    }
}

/// `rollout #3 of shop v1.0.0 in dev`
pub fn title(view: &RolloutView) -> String {
    let release = match (&view.kind, &view.release) {
        (_, Some(release)) => format!("{} {release}", view.app),
        (_, None) => format!("{} to each node's last good release", view.app),
    };
    format!(
        "{} {} of {release} in {}",
        kind(view),
        view.number,
        view.environment
    )
}

/// Why there is no node to move: most often all of them are where they shall be.
pub fn nothing_moves(left_out: &[LeftOut], release: Option<&ReleaseRef>) -> String {
    let there = release.map(|release| format!("runs {release} already"));
    let is_there = |left_out: &&LeftOut| Some(&left_out.why) == there.as_ref();
    let (all, there) = (left_out.len(), left_out.iter().filter(is_there).count());
    let release = release.map_or_else(String::new, ToString::to_string);
    let why = match (there, all - there) {
        (0, 0) => "there is no node".to_owned(),
        (0, others) => format!("{} left out", count_is(others, "node")),
        (1, 0) => format!("the only node runs {release} already"),
        (there, 0) => format!("all {there} nodes run {release} already"),
        (1, others) => format!("1 node runs {release} already, {others} left out"),
        (there, others) => format!("{there} nodes run {release} already, {others} left out"),
    };
    format!("{why}; nothing moves")
}

/// `rollout #3 of shop v1.0.0 in dev: 10 nodes in 3 waves`
pub fn headline(view: &RolloutView) -> String {
    if view.waves.is_empty() {
        return format!("{}: no node to move", title(view));
    }
    let nodes = view.waves.iter().map(|wave| wave.nodes.len()).sum();
    format!(
        "{}: {} in {}",
        title(view),
        count(nodes, "node"),
        count(view.waves.len(), "wave")
    )
}

/// `failed: 2 nodes failed`, or `paused by admin` where the reason says it all.
pub fn standing(view: &RolloutView) -> String {
    let state = view.state.word();
    match &view.why {
        Some(why) if why.starts_with(state) => why.clone(),
        Some(why) => format!("{state}: {why}"),
        None => state.to_owned(),
    }
}

pub fn table(views: &[&RolloutView], now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(&[
        "rollout",
        "app",
        "environment",
        "release",
        "state",
        "waves",
        "nodes",
        "took",
        "started",
        "by",
    ]);
    for view in views {
        let passed = view
            .waves
            .iter()
            .filter(|wave| wave.state == WaveStateView::Passed)
            .count();
        let release = match view.kind {
            RolloutKindView::Forward | RolloutKindView::CatchUp => target(view),
            RolloutKindView::Rollback { .. } => format!("back to {}", target(view)),
        };
        table.row(vec![
            view.number.to_string(),
            view.app.to_string(),
            view.environment.to_string(),
            release,
            paint.state(view.state),
            format!("{passed}/{}", view.waves.len()),
            view.steps.len().to_string(),
            span(view.ended_at.unwrap_or(now).since(view.started_at)),
            ago(view.started_at, now),
            view.by.clone(),
        ]);
    }
    if table.is_empty() {
        return "no rollout yet; `fleetctl rollout VERSION` starts one".to_owned();
    }
    table.print()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn why_nothing_moves() {
        let release = serde_json::from_value(serde_json::json!({
            "version": "v1.0.0", "digest": fleet_proto::digest::Digest::of(b"v1.0.0") }));
        let release: ReleaseRef = release.unwrap();
        for (there, others, expected) in [
            (0, 0, "there is no node"),
            (1, 0, "the only node runs v1.0.0 already"),
            (10, 0, "all 10 nodes run v1.0.0 already"),
            (1, 2, "1 node runs v1.0.0 already, 2 left out"),
            (9, 1, "9 nodes run v1.0.0 already, 1 left out"),
            (0, 1, "1 node is left out"),
        ] {
            let left_out = |why: &str| LeftOut {
                node: "n01".parse().unwrap(),
                why: why.to_owned(),
            };
            let mut all = vec![left_out("runs v1.0.0 already"); there];
            all.extend(vec![left_out("it is revoked"); others]);
            assert_eq!(
                nothing_moves(&all, Some(&release)),
                format!("{expected}; nothing moves")
            );
        }
    }

    #[test]
    fn nouns_and_verbs_agree_with_their_number() {
        for (number, expected) in [(0, "0 nodes are"), (1, "1 node is"), (2, "2 nodes are")] {
            assert_eq!(count_is(number, "node"), expected);
        }
    }
}
