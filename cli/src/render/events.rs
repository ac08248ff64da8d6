//! Events: one a line, in the order of the journal.

use fleet_proto::view::EventView;

pub fn line(event: &EventView) -> String {
    format!("{:>6} {} {}", event.position, event.at, sentence(event))
}

/// It says itself what it is about, mostly; what it does not name stands before it.
pub fn sentence(event: &EventView) -> String {
    let subjects = [
        event.rollout.map(|rollout| rollout.to_string()),
        event.node.as_ref().map(ToString::to_string),
    ];
    let unnamed: String = subjects
        .into_iter()
        .flatten()
        .filter(|subject| !names(&event.message, subject))
        .map(|subject| format!("{subject}: "))
        .collect();
    format!("{unnamed}{}", event.message)
}

/// As a word of its own: `#4` is not in `#42`.
fn names(message: &str, subject: &str) -> bool {
    message
        .split_whitespace()
        .any(|word| word.trim_end_matches([':', ',', ';', '.']) == subject)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn nothing_is_said_twice() {
        let none = Value::Null;
        for (rollout, node, message, expected) in [
            (
                json!(4),
                json!("n05"),
                "n05 was told to deploy v1.1.0",
                "#4: n05 was told to deploy v1.1.0",
            ),
            (
                json!(4),
                none.clone(),
                "wave 1 of #4 started",
                "wave 1 of #4 started",
            ),
            (
                json!(4),
                none.clone(),
                "wave 1 of #42 started",
                "#4: wave 1 of #42 started",
            ),
            (json!(4), none.clone(), "rollout #4: paused", "rollout #4: paused"),
            (
                none.clone(),
                json!("n05"),
                "admin revoked n05: lost",
                "admin revoked n05: lost",
            ),
            (
                none.clone(),
                json!("n05"),
                "a disk is full",
                "n05: a disk is full",
            ),
            (
                none.clone(),
                none,
                "admin pushed shop v1.1.0",
                "admin pushed shop v1.1.0",
            ),
        ] {
            let event = serde_json::from_value(json!({ "position": 17, "at": 1_770_897_600_000_u64,
                "kind": "any", "rollout": rollout, "node": node, "message": message }));
            assert_eq!(
                super::line(&event.unwrap()),
                format!("    17 2026-02-12T12:00:00.000Z {expected}")
            );
        }
    }
}
