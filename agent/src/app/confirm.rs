//! Whether the node finds its way to a coordinator, now that another release runs.

use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use fleet_proto::session::{Failure, FailureClass};
use tokio::task::JoinSet;

use super::RunLane;
use crate::install::{Outcome, Purpose, Work};
use crate::link::Reach;

/// Between attempts; each is a connection with its handshake.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// Ends its attempts when dropped.
pub(super) struct Confirming {
    within: Span,
    began: Instant,
    attempts: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// Nobody asks for it.
    NotAsked,
    /// There is still time.
    Open,
    Made,
    Missed(Span),
}

impl RunLane {
    /// What the work asks for.
    pub(super) fn confirming(&self, work: &Work) -> Option<Confirming> {
        let within = match work.purpose {
            Purpose::Verify => self.crew.as_ref()?.started.slot.manifest.health.confirm,
            Purpose::PutBack => work.cut_off,
            Purpose::Rest | Purpose::Activate | Purpose::Bake | Purpose::Smoke => None,
        };
        Some(Confirming::begin(self.reach.clone(), within?))
    }
}

impl Confirming {
    fn begin(reach: Reach, within: Span) -> Self {
        let mut attempts = JoinSet::new();
        attempts.spawn(async move {
            while !reach.is_answered().await {
                tokio::time::sleep(TRY_EVERY).await;
            }
        });
        Self {
            within,
            began: Instant::now(),
            attempts,
        }
    }

    fn contact(&mut self) -> Contact {
        match self.attempts.try_join_next() {
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(_) => {
                self.attempts.abort_all();
                self.attempts = JoinSet::new();
            }
            None => {}
        }
        if self.attempts.is_empty() {
            Contact::Made
        } else if self.began.elapsed() >= self.within.as_duration() {
            Contact::Missed(self.within)
        } else {
            Contact::Open
        }
    }
}

pub(super) fn contact(confirming: &mut Option<Confirming>) -> Contact {
    confirming.as_mut().map_or(Contact::NotAsked, Confirming::contact)
}

/// What the checks of a release came to, once it is known that it did not cut the node off.
/// What they found themselves comes first: it says more.
pub(super) fn confirmed(verified: Option<Outcome>, contact: Contact) -> Option<Outcome> {
    match (verified, contact) {
        (Some(Outcome::Verified { .. }), Contact::Open) => None,
        (None | Some(Outcome::Verified { .. }), Contact::Missed(within)) => Some(Outcome::CutOff {
            failure: no_contact(within),
            within,
        }),
        (verified, _) => verified,
    }
}

/// What came of putting back, once it is known whether that makes the difference.
pub(super) fn put_back_confirmed(put_back: Option<Outcome>, contact: Contact) -> Option<Outcome> {
    match contact {
        Contact::Made => Some(Outcome::ReachedAgain),
        Contact::Open => None,
        Contact::NotAsked | Contact::Missed(_) => put_back,
    }
}

fn no_contact(within: Span) -> Failure {
    Failure {
        class: FailureClass::Infrastructure,
        check: Some("confirm".to_owned()),
        message: format!("no coordinator was reached within {within} of activation (confirm)"),
        figure: Some("no answer".to_owned()),
        limit: Some(within.to_string()),
        log_tail: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_confirmed_is_not_verified() {
        let within = Span::from_secs(30);
        let cut_off = Outcome::CutOff {
            failure: no_contact(within),
            within,
        };
        let failed = Outcome::Failed(no_contact(within));
        let verified = || Some(Outcome::Verified { has_smoke: false });
        for (found, contact, expected) in [
            (None, Contact::Open, None),
            (None, Contact::Made, None),
            (None, Contact::Missed(within), Some(cut_off.clone())),
            (verified(), Contact::NotAsked, verified()),
            (verified(), Contact::Open, None),
            (verified(), Contact::Made, verified()),
            (verified(), Contact::Missed(within), Some(cut_off)),
            (
                Some(failed.clone()),
                Contact::Missed(within),
                Some(failed.clone()),
            ),
            (Some(failed.clone()), Contact::Open, Some(failed)),
        ] {
            assert_eq!(
                confirmed(found.clone(), contact),
                expected,
                "{found:?} {contact:?}"
            );
        }
    }

    #[test]
    fn a_release_is_put_back_before_it_is_known_whose_fault_it_was() {
        let back = || Some(Outcome::PutBack { ill: None });
        let missed = Contact::Missed(Span::from_secs(30));
        for (found, contact, expected) in [
            (back(), Contact::NotAsked, back()),
            (back(), Contact::Open, None),
            (back(), Contact::Made, Some(Outcome::ReachedAgain)),
            (back(), missed, back()),
            (None, missed, None),
        ] {
            assert_eq!(
                put_back_confirmed(found.clone(), contact),
                expected,
                "{found:?} {contact:?}"
            );
        }
    }
}
