//! What could not be made so: whether it is the release's, and when it is tried again.

use std::time::Duration;

use fleet_proto::session::FailureClass;

use super::Purpose;

/// Between attempts at what a disk or a process table did not let through.
pub const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at a release whose files are damaged and that there is no other for.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What of this node is away, as its bus is just after a boot, for how long a release that ran
/// is not judged by that.
const OUTAGE_MAX: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Whether it is waited out. What is only just being activated goes back at once: what ran
/// before it is as good as it was.
pub fn is_waited_out(purpose: Purpose, class: FailureClass, lasts: Duration) -> bool {
    let has_run = matches!(purpose, Purpose::Verify | Purpose::Bake | Purpose::Smoke);
    has_run && class == FailureClass::Infrastructure && lasts < OUTAGE_MAX
}

/// Where nobody waits for an outcome there is no hurry.
pub fn pause_after(purpose: Purpose, is_damaged: bool, times: u32) -> Duration {
    match purpose {
        // Whoever mends it does so by hand, and each look reads all of it.
        Purpose::Rest if is_damaged => LOOK_AGAIN,
        Purpose::Rest => (TRY_AGAIN * 2u32.saturating_pow(times.min(8) - 1)).min(PAUSE_MAX),
        _ => TRY_AGAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_says_nothing_of_a_release_that_ran() {
        use FailureClass::{Infrastructure, Release};
        let (brief, long) = (Duration::from_secs(59), Duration::from_secs(61));
        for purpose in [Purpose::Verify, Purpose::Bake, Purpose::Smoke] {
            assert!(is_waited_out(purpose, Infrastructure, brief), "{purpose:?}");
            assert!(!is_waited_out(purpose, Infrastructure, long), "{purpose:?}");
            assert!(!is_waited_out(purpose, Release, brief), "{purpose:?}");
        }
        for purpose in [Purpose::Activate, Purpose::PutBack, Purpose::Rest] {
            assert!(!is_waited_out(purpose, Infrastructure, brief), "{purpose:?}");
        }
    }

    #[test]
    fn what_nobody_waits_for_is_tried_less_and_less_often() {
        let seconds = |times| pause_after(Purpose::Rest, false, times).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 1000].map(seconds), [1, 2, 4, 8, 10, 10]);
        assert_eq!(pause_after(Purpose::Rest, true, 1), LOOK_AGAIN);
        assert_eq!(pause_after(Purpose::PutBack, true, 1000), TRY_AGAIN);
    }
}
