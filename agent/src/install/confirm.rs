//! `confirm`: a release that cuts its node off undoes itself.
//!
//! A coordinator that does not answer may be away, and the release as good as any: then it
//! does not answer on the release that is put back either. If it does there, it was the
//! release.

use fleet_proto::quantity::Span;
use fleet_proto::session::{Failure, FailureClass};

use super::outcomes::{PutItselfBack, add_to_failure};
use crate::ledger::AppRecord;

impl AppRecord {
    pub(super) fn cut_off(&mut self, failure: Failure, within: Span) -> PutItselfBack {
        let given_up = self.give_up(failure);
        if let Some(step) = &mut self.step {
            step.cut_off = Some(within);
        }
        given_up
    }

    pub(super) fn reached_again(&mut self) {
        let on = self.runs();
        let Some(step) = self.step.as_mut().filter(|step| step.cut_off.is_some()) else {
            return;
        };
        step.cut_off = None;
        add_to_failure(&mut step.failure, &format!("{on} one is reached again"));
        if let Some(failure) = &mut step.failure {
            failure.class = FailureClass::Release;
        }
    }

    /// It is put back, and nobody answers there: that says nothing of the release.
    pub(super) fn reached_nobody(&mut self) {
        let on = self.runs();
        if let Some(step) = self.step.as_mut().filter(|step| step.cut_off.is_some()) {
            step.cut_off = None;
            add_to_failure(&mut step.failure, &format!("{on} none is reached either"));
        }
    }

    fn runs(&self) -> String {
        self.current_release()
            .map_or_else(|| "without it".to_owned(), |release| format!("on {release}"))
    }
}
