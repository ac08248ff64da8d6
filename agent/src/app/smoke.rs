//! Smoke checks: when the bake is over, each is looked at once, in their order.

use tokio::task::JoinSet;

use super::{RunLane, outcome};
use crate::crew::Crew;
use crate::effects::converge::Part;
use crate::install::{Outcome, Purpose};
use crate::probe::judge::{Finding, Verdict};
use crate::probe::{Miss, look};

/// Ends what it looks at when dropped.
pub(super) struct Smoking(JoinSet<Option<Finding>>);

impl RunLane {
    pub(super) fn smoking(&self, purpose: Purpose) -> Option<Smoking> {
        let crew = self.crew.as_ref().filter(|_| purpose == Purpose::Smoke)?;
        let mut looking = JoinSet::new();
        looking.spawn(look_at_all(crew.started.parts.clone()));
        Some(Smoking(looking))
    }
}

async fn look_at_all(parts: Vec<Part>) -> Option<Finding> {
    for part in &parts {
        for check in &part.component.smoke {
            if let Err(miss) = look(part, check).await {
                let name = format!("{}/{}", part.component.name, check.name);
                return Some(finding(name, miss));
            }
        }
    }
    None
}

fn finding(check: String, miss: Miss) -> Finding {
    Finding {
        message: format!("the smoke check {check} did not pass: it {}", miss.why),
        check,
        figure: miss.figure,
        limit: miss.limit,
    }
}

/// The other checks go on meanwhile.
pub(super) fn smoked(crew: &Crew, smoking: &mut Option<Smoking>) -> Option<Outcome> {
    if let Verdict::Failed(finding) = crew.bake() {
        return outcome(crew, Verdict::Failed(finding));
    }
    match smoking.as_mut()?.0.try_join_next()? {
        Ok(None) => Some(Outcome::Smoked),
        Ok(Some(finding)) => outcome(crew, Verdict::Failed(finding)),
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_shut_down) => None,
        },
    }
}
