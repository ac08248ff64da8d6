//! When a release that was put back is back.

use std::time::Duration;

use crate::crew::Crew;
use crate::install::Outcome;

/// A release that was put back is given this long to show that it is well; after that
/// it is said that it is not.
const PUT_BACK_MAX: Duration = Duration::from_secs(60);

pub(super) fn put_back(crew: Option<&Crew>) -> Option<Outcome> {
    let Some(crew) = crew else {
        // Nothing runs, and nothing was to.
        return Some(Outcome::PutBack { ill: None });
    };
    if crew.judge.all_pass() {
        return Some(Outcome::PutBack { ill: None });
    }
    let bound = crew
        .started
        .slot
        .manifest
        .health
        .healthy_deadline
        .as_duration()
        .min(PUT_BACK_MAX);
    let too_late = crew.since_began() >= bound;
    too_late.then(|| Outcome::PutBack {
        ill: crew.judge.why_not(),
    })
}
