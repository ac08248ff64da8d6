//! Events: one a line, in the order of the journal.

use fleet_proto::view::EventView;

pub fn line(event: &EventView) -> String {
    // What the sentence names itself is not named twice.
    let unless_named = |name: Option<String>| match name {
        Some(name) if !names(&event.message, &name) => format!("{name} "),
        _ => String::new(),
    };
    let rollout = unless_named(event.rollout.map(|rollout| rollout.to_string()));
    let node = unless_named(event.node.as_ref().map(ToString::to_string));
    format!(
        "{:>6} {} {rollout}{node}{}",
        event.position, event.at, event.message
    )
}

fn names(message: &str, name: &str) -> bool {
    message
        .split_whitespace()
        .any(|word| word.trim_end_matches([',', ':', ';', '.']) == name)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_named_twice() {
        let line = |message: &str| {
            line(&EventView {
                position: 7,
                at: fleet_proto::time::Timestamp(1_770_897_600_000),
                kind: "step-moved".into(),
                rollout: Some(fleet_proto::ids::RolloutNumber(4)),
                node: Some("n05".parse().unwrap()),
                message: message.to_owned(),
            })
        };
        let start = "     7 2026-02-12T12:00:00.000Z";
        for (message, expected) in [
            ("n05 was told to deploy v2", "#4 n05 was told to deploy v2"),
            ("wave 2 of #4: n05, n050", "wave 2 of #4: n05, n050"),
            ("n050 is done", "#4 n05 n050 is done"),
        ] {
            assert_eq!(line(message), format!("{start} {expected}"));
        }
    }
}
