//! Which of a component's hooks are run, in which order, and whether a failure counts. Pure.
//!
//! ```text
//! what is left    drain → pre_stop → (stopped)        last first
//! what comes      (started) → post_start              first first
//!                 (verified) → undrain                first first
//! ```
//!
//! A component that is kept runs none, unless some are owed: it was drained for a stop that
//! did not come, or the agent was gone before they had been run.

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::ids::ComponentName;
use fleet_proto::quantity::Span;
use fleet_proto::release::HookName;

use super::changes::Changes;

/// Of each hook of a release that failed, and of a node that is being stopped: what is wanted
/// instead waits for it.
const LEFT_IN_HASTE: Span = Span::from_secs(10);

/// To what end processes are stopped and started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A release is brought, and proves itself.
    Forward,
    /// What ran well before is put back.
    Back,
    /// What is current runs, as after a boot.
    Rest,
    /// Nothing of the app runs, for now.
    Still,
    /// The agent ends with all that it runs.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    Warn,
    /// The release has failed.
    Fail,
}

/// One hook of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub component: ComponentName,
    pub hook: HookName,
    /// Where it has less time than it asks for.
    pub timeout_max: Option<Span>,
    pub on_failure: OnFailure,
}

/// What is so before anything is touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// Somebody has them in hand.
    pub runs: BTreeSet<ComponentName>,
    /// Hooks of what runs and is kept that have still to be run.
    pub owed: BTreeMap<ComponentName, BTreeSet<HookName>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Of the release that is left, before the component is stopped or taken over.
    pub leaving: Vec<Call>,
    /// Of the one that comes, when the component is started.
    pub started: Vec<Call>,
    /// Of the one that comes, when all of it is verified.
    pub verified: Vec<Call>,
}

impl Plan {
    pub fn leaving_of<'a>(&'a self, component: &'a ComponentName) -> impl Iterator<Item = &'a Call> {
        self.leaving
            .iter()
            .filter(move |call| call.component == *component)
    }

    /// Of what is taken over and not stopped.
    pub fn leaving_besides<'a>(&'a self, stopped: &'a [ComponentName]) -> impl Iterator<Item = &'a Call> {
        self.leaving
            .iter()
            .filter(move |call| !stopped.contains(&call.component))
    }
}

/// `order` is that in which the components of what comes start.
pub fn plan(occasion: Occasion, changes: &Changes, order: &[ComponentName], before: &Before) -> Plan {
    let taken_over = changes
        .start
        .iter()
        .rev()
        .filter(|name| !changes.stop.contains(name));
    let left = changes.stop.iter().chain(taken_over);
    let left = left.filter(|name| before.runs.contains(name));
    let comes = |hook: HookName| {
        let is_due = move |name: &&ComponentName| {
            let is_owed = || before.owed.get(name).is_some_and(|owed| owed.contains(&hook));
            changes.start.contains(name) || is_owed()
        };
        let due = order.iter().filter(is_due);
        due.map(move |name| coming(occasion, name, hook)).collect()
    };
    Plan {
        leaving: left.flat_map(|name| leaving(occasion, name)).collect(),
        started: comes(HookName::PostStart),
        verified: comes(HookName::Undrain),
    }
}

/// What is left cannot keep the node from leaving it.
pub fn leaving(occasion: Occasion, component: &ComponentName) -> [Call; 2] {
    let timeout_max = match occasion {
        Occasion::Back | Occasion::End => Some(LEFT_IN_HASTE),
        Occasion::Forward | Occasion::Rest | Occasion::Still => None,
    };
    [HookName::Drain, HookName::PreStop].map(|hook| Call {
        component: component.clone(),
        hook,
        timeout_max,
        on_failure: OnFailure::Warn,
    })
}

/// Only what has to prove itself can fail by them.
fn coming(occasion: Occasion, component: &ComponentName, hook: HookName) -> Call {
    let on_failure = match occasion {
        Occasion::Forward => OnFailure::Fail,
        Occasion::Back | Occasion::Rest | Occasion::Still | Occasion::End => OnFailure::Warn,
    };
    Call {
        component: component.clone(),
        hook,
        timeout_max: None,
        on_failure,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::super::changes::{Member, changes};
    use super::*;
    use fleet_proto::digest::Digest;

    /// As in the tests of changes; `web=` does not run.
    fn members(text: &str) -> Vec<Member> {
        text.split_whitespace()
            .map(|word| {
                let (name, defined_by) = word.split_once('=').unwrap();
                Member {
                    takes_over: defined_by.ends_with('+'),
                    component: name.parse().unwrap(),
                    fingerprint: (!defined_by.is_empty())
                        .then(|| Digest::of(defined_by.trim_end_matches('+').as_bytes())),
                }
            })
            .collect()
    }

    /// `drain web!10s` may take so long, `post_start web?` only warns.
    fn words(calls: &[Call]) -> String {
        let word = |call: &Call| {
            let limit = call
                .timeout_max
                .map_or_else(String::new, |limit| format!("!{limit}"));
            let warns = match call.on_failure {
                OnFailure::Warn => "?",
                OnFailure::Fail => "",
            };
            format!("{} {}{limit}{warns}", call.hook, call.component)
        };
        calls.iter().map(word).collect::<Vec<_>>().join(", ")
    }

    fn check(occasion: Occasion, old: &str, new: &str, owed: &str, expected: [&str; 3]) {
        let (old_members, new_members) = (members(old), members(new));
        let runs = old_members.iter().filter(|member| member.fingerprint.is_some());
        let mut before = Before {
            runs: runs.map(|member| member.component.clone()).collect(),
            owed: BTreeMap::new(),
        };
        for word in owed.split_whitespace() {
            let (hook, name) = word.split_once(':').unwrap();
            let hook = serde_json::from_value(hook.into()).unwrap();
            before.owed.entry(name.parse().unwrap()).or_default().insert(hook);
        }
        let order: Vec<ComponentName> = new_members.iter().map(|m| m.component.clone()).collect();
        let plan = plan(occasion, &changes(&old_members, &new_members), &order, &before);
        let found = [words(&plan.leaving), words(&plan.started), words(&plan.verified)];
        assert_eq!(found, expected, "{occasion:?}: {old} → {new}, owed {owed}");
    }

    #[test]
    fn who_runs_which_hooks() {
        use Occasion::{Back, End, Forward, Rest, Still};
        let (a, b) = ("api=1 web=1 db=1", "api=2 web=2 db=1");
        let left = "drain web?, pre_stop web?, drain api?, pre_stop api?";
        let started = "post_start api, post_start web";
        check(Forward, a, b, "", [left, started, "undrain api, undrain web"]);
        // A first release leaves nothing, and the way back to nothing brings nothing.
        check(Forward, "", "web=1", "", ["", "post_start web", "undrain web"]);
        let hasty = "drain web!10s?, pre_stop web!10s?";
        check(Back, "web=1", "", "", [hasty, "", ""]);
        check(End, "web=1", "", "", [hasty, "", ""]);
        check(Still, "web=1", "", "", ["drain web?, pre_stop web?", "", ""]);
        // On the way back nothing counts.
        check(
            Back,
            "web=2",
            "web=1",
            "",
            [hasty, "post_start web?", "undrain web?"],
        );
        // What is unchanged runs none, what is gone only says goodbye.
        check(Forward, "db=1 web=1", "db=1 web=1", "", ["", "", ""]);
        check(
            Forward,
            "db=1 web=1",
            "db=1",
            "",
            ["drain web?, pre_stop web?", "", ""],
        );
        // A boot: nothing runs that could be drained.
        check(
            Rest,
            "api= web=",
            "api=1 web=1",
            "",
            [
                "",
                "post_start api?, post_start web?",
                "undrain api?, undrain web?",
            ],
        );
        // What takes over is not stopped, and changes all the same.
        check(
            Forward,
            "api=1 web=1",
            "api=2 web=2+",
            "",
            [
                "drain api?, pre_stop api?, drain web?, pre_stop web?",
                started,
                "undrain api, undrain web",
            ],
        );
    }

    #[test]
    fn what_is_owed_is_run_though_the_component_is_kept() {
        use Occasion::{Back, Forward, Rest};
        let kept = "api=1 web=1";
        // The agent was gone after the start.
        check(
            Forward,
            kept,
            kept,
            "post_start:web undrain:web undrain:api",
            ["", "post_start web", "undrain api, undrain web"],
        );
        // It was drained for a release that never came.
        check(Back, kept, kept, "undrain:web", ["", "", "undrain web?"]);
        check(Rest, kept, kept, "undrain:web", ["", "", "undrain web?"]);
        // Of another process than the one that comes: it goes, and the new one has its own.
        check(
            Forward,
            "web=1",
            "web=2",
            "undrain:web",
            ["drain web?, pre_stop web?", "post_start web", "undrain web"],
        );
    }
}
