//! Times as people read them.

use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;

/// The time of day, UTC, to the second: for lines that follow one another.
pub fn clock(at: Timestamp) -> String {
    let full = at.rfc3339();
    full.get(11..19).map_or(full.clone(), |time| format!("{time}Z"))
}

/// To the tenth of a second below a minute, coarser above: for reading at a glance.
pub fn span(span: Span) -> String {
    let ms = span.as_millis();
    match ms {
        0..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms / 1000 % 60),
        3_600_000..86_400_000 => format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60),
        _ => format!("{}d{:02}h", ms / 86_400_000, ms / 3_600_000 % 24),
    }
}

pub fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(now.since(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(clock(Timestamp(1_770_897_600_000)), "12:00:00Z");
        for (ms, text) in [
            (0, "0.0s"),
            (12_345, "12.3s"),
            (61_000, "1m01s"),
            (3_660_000, "1h01m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(span(Span::from_millis(ms)), text);
        }
    }
}
