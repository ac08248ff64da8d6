//! What a component wants done around the life of its processes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quantity::Span;

/// A step waits for its hooks, and somebody for the step.
const TIMEOUT_MAX: Span = Span::from_secs(600);

/// `drain` and `pre_stop` of the release that is left, before its process is stopped;
/// `post_start` of the one that comes, when its process is started, and `undrain`, when it is
/// verified. They have to bear being run again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Hook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Hook>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undrain: Option<Hook>,
}

/// Run in the component's files, with its variables and as its user. `${…}` is filled in as in
/// [`super::Supervise`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    pub command: Vec<String>,
    /// At it all that the command has started is ended.
    #[serde(default = "half_a_minute")]
    pub timeout: Span,
}

/// In the order in which they come when one release takes another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookName {
    Drain,
    PreStop,
    PostStart,
    Undrain,
}

impl HookName {
    pub const ALL: [Self; 4] = [Self::Drain, Self::PreStop, Self::PostStart, Self::Undrain];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::PreStop => "pre_stop",
            Self::PostStart => "post_start",
            Self::Undrain => "undrain",
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Hooks {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn named(&self, name: HookName) -> Option<&Hook> {
        match name {
            HookName::Drain => self.drain.as_ref(),
            HookName::PreStop => self.pre_stop.as_ref(),
            HookName::PostStart => self.post_start.as_ref(),
            HookName::Undrain => self.undrain.as_ref(),
        }
    }

    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = (HookName, &Hook)> {
        HookName::ALL
            .into_iter()
            .filter_map(|name| Some((name, self.named(name)?)))
    }

    pub(super) fn must_make_sense(&self) -> Result<(), String> {
        for (name, hook) in self.all() {
            if hook.command.first().is_none_or(String::is_empty) {
                return Err(format!("has a hook `{name}` with an empty command"));
            }
            if hook.timeout == Span::ZERO {
                return Err(format!("has a hook `{name}` without time (timeout 0s)"));
            }
            if hook.timeout > TIMEOUT_MAX {
                return Err(format!(
                    "has a hook `{name}` with {} of time, the limit is {TIMEOUT_MAX}",
                    hook.timeout
                ));
            }
        }
        Ok(())
    }
}

fn half_a_minute() -> Span {
    Span::from_secs(30)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Hooks {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn hooks_have_a_command_and_some_time() {
        let good = read(serde_json::json!({ "drain": { "command": ["./drain"] } }));
        assert_eq!(good.drain.as_ref().unwrap().timeout, Span::from_secs(30));
        good.must_make_sense().unwrap();
        for (bad, why) in [
            (
                serde_json::json!({ "drain": { "command": [] } }),
                "`drain` with an empty command",
            ),
            (
                serde_json::json!({ "pre_stop": { "command": [""] } }),
                "`pre_stop` with an empty command",
            ),
            (
                serde_json::json!({ "undrain": { "command": ["a"], "timeout": "0s" } }),
                "`undrain` without time",
            ),
            (
                serde_json::json!({ "post_start": { "command": ["a"], "timeout": "11m" } }),
                "with 11m of time, the limit is 10m",
            ),
        ] {
            let found = read(bad).must_make_sense().unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn every_name_finds_its_own_hook() {
        for name in HookName::ALL {
            let json = serde_json::json!({ name.word(): { "command": ["x"] } });
            let hooks = read(json);
            let found: Vec<HookName> = hooks.all().map(|(name, _)| name).collect();
            assert_eq!(found, [name]);
            assert_eq!(serde_json::to_value(name).unwrap(), name.word());
        }
    }
}
