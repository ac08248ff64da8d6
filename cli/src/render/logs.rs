//! Lines of logs, as they were written, with what is known of them in front.

use fleet_proto::ids::{ComponentName, NodeId};
use fleet_proto::session::question::{LogLine, Said};
use fleet_proto::view::LogLineView;

/// Whether each line says whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Shown,
    Known,
}

impl Names {
    pub fn of(asked_for: Option<&ComponentName>) -> Self {
        match asked_for {
            Some(_) => Self::Known,
            None => Self::Shown,
        }
    }
}

pub fn text(lines: &[LogLine], names: Names) -> String {
    let mut text = String::new();
    for line in lines {
        if names == Names::Shown {
            text.push_str(line.component.as_str());
            text.push_str(" | ");
        }
        if let Some(at) = line.at {
            text.push_str(&format!("{at} "));
        }
        match &line.said {
            Said::Line(said) => text.push_str(said),
            Said::Skipped(count) => text.push_str(&format!("… {} lines skipped", with_commas(*count))),
        }
        text.push('\n');
    }
    text
}

pub fn json(node: &NodeId, lines: &[LogLine]) -> String {
    let view = |line: &LogLine| {
        let (said, skipped) = match &line.said {
            Said::Line(said) => (Some(said.clone()), 0),
            Said::Skipped(count) => (None, *count),
        };
        LogLineView {
            node: node.clone(),
            component: line.component.clone(),
            at: line.at,
            line: said,
            skipped,
        }
    };
    let lines = lines.iter().map(view);
    lines
        .map(|line| serde_json::to_string(&line).unwrap_or_default() + "\n")
        .collect()
}

fn with_commas(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::time::Timestamp;

    #[test]
    fn lines_say_whose_they_are_and_when() {
        let line = |at, said| LogLine {
            component: "web".parse().unwrap(),
            at,
            said,
        };
        let lines = [
            line(Some(Timestamp(1_770_897_600_000)), Said::Line("one".into())),
            line(None, Said::Skipped(1_234_567)),
            line(None, Said::Line(String::new())),
        ];
        assert_eq!(
            text(&lines, Names::Shown),
            "web | 2026-02-12T12:00:00.000Z one\nweb | … 1,234,567 lines skipped\nweb | \n"
        );
        assert_eq!(text(&lines[2..], Names::Known), "\n");
        assert_eq!(
            json(&"n01".parse().unwrap(), &lines[..2]),
            "{\"node\":\"n01\",\"component\":\"web\",\"at\":1770897600000,\"line\":\"one\",\"skipped\":0}\n\
             {\"node\":\"n01\",\"component\":\"web\",\"at\":null,\"line\":null,\"skipped\":1234567}\n"
        );
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345")] {
            assert_eq!(with_commas(count), text);
        }
    }
}
