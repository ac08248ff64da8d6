//! What has to stop and what has to start between what runs and what shall run. Pure.
//!
//! A component whose process is defined alike on both sides (the same files, the same
//! command, environment, stop signal and grace, with every `${…}` filled in) keeps its
//! process. All others are handled in one order, written down here and nowhere else:
//!
//! ```text
//! forward  A → B   stop what A alone has, last in A's manifest first;
//!                  then start what B alone has, first in B's manifest first
//! back     B → A   the same with the roles swapped
//! ```
//!
//! So the way back is the way forward run backwards: what was started last is stopped
//! first, and what was stopped last, for others rested on it, is started first. A worker
//! that stands behind its server in the manifest is stopped before the server is put
//! back, and starts when the server is there again.

use fleet_proto::digest::Digest;
use fleet_proto::ids::ComponentName;

/// A component as it runs, or as it shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub component: ComponentName,
    /// What defines its process; none if there is no process that could be kept.
    pub fingerprint: Option<Digest>,
    /// Of what shall run: it takes over from what runs, which need not be stopped for it.
    pub takes_over: bool,
}

/// Each list in the order in which it is gone through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub stop: Vec<ComponentName>,
    pub start: Vec<ComponentName>,
    pub keep: Vec<ComponentName>,
    /// Stopped, and not started again.
    pub gone: Vec<ComponentName>,
}

/// Both in the order in which they start.
pub fn changes(old: &[Member], new: &[Member]) -> Changes {
    let is_like = |a: &Member, b: &Member| {
        a.fingerprint.is_some() && (&a.component, a.fingerprint) == (&b.component, b.fingerprint)
    };
    let is_kept = |member: &&Member| {
        old.iter().any(|old| is_like(old, member)) && new.iter().any(|new| is_like(new, member))
    };
    let next = |member: &Member| new.iter().find(|new| new.component == member.component);
    let goes_on = |member: &&Member| is_kept(member) || next(member).is_some_and(|next| next.takes_over);
    let name = |member: &Member| member.component.clone();
    Changes {
        stop: old.iter().rev().filter(|m| !goes_on(m)).map(name).collect(),
        start: new.iter().filter(|m| !is_kept(m)).map(name).collect(),
        keep: new.iter().filter(is_kept).map(name).collect(),
        gone: old.iter().filter(|m| next(m).is_none()).map(name).collect(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `db=1 web=2`; `db=` has no process; `web=2+` takes over from the one before it.
    fn members(text: &str) -> Vec<Member> {
        text.split_whitespace()
            .map(|word| {
                let (name, defined_by) = word.split_once('=').unwrap();
                let takes_over = defined_by.ends_with('+');
                let defined_by = defined_by.trim_end_matches('+');
                Member {
                    takes_over,
                    component: name.parse().unwrap(),
                    fingerprint: (!defined_by.is_empty()).then(|| Digest::of(defined_by.as_bytes())),
                }
            })
            .collect()
    }

    fn words(names: &[ComponentName]) -> String {
        let names: Vec<&str> = names.iter().map(ComponentName::as_str).collect();
        names.join(" ")
    }

    fn check(old: &str, new: &str, stop: &str, start: &str, keep: &str) {
        let found = changes(&members(old), &members(new));
        let found = [words(&found.stop), words(&found.start), words(&found.keep)];
        assert_eq!(found, [stop, start, keep], "{old} → {new}");
    }

    #[test]
    fn only_what_is_defined_otherwise_is_touched() {
        let all = "backend=1 worker=1 frontend=1";
        check("", all, "", "backend worker frontend", "");
        check(all, all, "", "", "backend worker frontend");
        check(
            all,
            "backend=1 worker=2 frontend=1",
            "worker",
            "worker",
            "backend frontend",
        );
        check(all, "", "frontend worker backend", "", "");
    }

    #[test]
    fn stops_are_last_first_and_starts_are_first_first() {
        let (a, b) = ("backend=1 worker=1 frontend=1", "backend=2 worker=2 frontend=1");
        check(a, b, "worker backend", "backend worker", "frontend");
        // The way back: the worker goes before the backend is put back.
        check(b, a, "worker backend", "backend worker", "frontend");
    }

    #[test]
    fn new_and_removed_components_go_in_the_order_of_their_own_manifest() {
        let (a, b) = ("db=1 old=1 web=1", "cache=1 web=2 db=1 edge=1");
        check(a, b, "web old", "cache web edge", "db");
        check(b, a, "edge web cache", "old web", "db");
    }

    #[test]
    fn what_takes_over_is_not_stopped_before() {
        let (a, b) = ("api=1 worker=1 web=1+", "api=2 worker=1 web=2+");
        check(a, b, "api", "api web", "worker");
        check(b, a, "api", "api web", "worker");
        check(a, "api=1", "web worker", "", "api");
        assert_eq!(words(&changes(&members(a), &members("api=1")).gone), "worker web");
    }

    #[test]
    fn another_order_alone_restarts_nothing() {
        check("db=1 web=1", "web=1 db=1", "", "", "web db");
    }

    #[test]
    fn what_does_not_run_is_cleared_away_and_started() {
        check("db=1 web=", "db=1 web=1", "web", "web", "db");
        check("db=1 web=", "db=1", "web", "", "db");
    }

    fn manifest() -> impl Strategy<Value = Vec<Member>> {
        let names = Just(["a", "b", "c", "d", "e"].to_vec()).prop_shuffle();
        (names, proptest::collection::vec(0..3_u8, 0..=5)).prop_map(|(names, kinds)| {
            let pairs = names.into_iter().zip(kinds);
            let text: Vec<String> = pairs.map(|(name, kind)| format!("{name}={kind}")).collect();
            members(&text.join(" "))
        })
    }

    proptest! {
        #[test]
        fn the_way_back_is_the_way_forward_run_backwards(a in manifest(), b in manifest()) {
            let (forward, back) = (changes(&a, &b), changes(&b, &a));
            let backwards = |names: &[ComponentName]| names.iter().rev().cloned().collect::<Vec<_>>();
            prop_assert_eq!(&back.stop, &backwards(&forward.start));
            prop_assert_eq!(&back.start, &backwards(&forward.stop));
            for member in &a {
                let touched = forward.stop.contains(&member.component);
                prop_assert_eq!(touched, !b.contains(member));
            }
        }
    }
}
