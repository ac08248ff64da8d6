//! Smoke checks: when the bake is over, each is looked at once, in their order.

use tokio::task::JoinSet;

use super::{RunLane, outcome};
use crate::crew::Crew;
use crate::effects::converge::Part;
use crate::install::Outcome;
use crate::probe::judge::{Finding, Verdict};
use crate::probe::{Miss, look};

/// Ends what it looks at when dropped.
pub(super) struct Smoking(JoinSet<Option<Finding>>);

impl RunLane {
    /// What has only just been started, as after a power cut, is looked at once it is up. The
    /// other checks go on meanwhile.
    pub(super) fn smoked(&mut self) -> Option<Outcome> {
        let crew = self.crew.as_ref()?;
        if let Verdict::Failed(finding) = crew.bake() {
            return outcome(crew, Verdict::Failed(finding));
        }
        if self.smoking.is_none() && !crew.judge.all_pass() {
            return None;
        }
        let smoking = self.smoking.get_or_insert_with(|| Smoking::begin(crew));
        match smoking.0.try_join_next()? {
            Ok(None) => Some(Outcome::Smoked),
            Ok(Some(finding)) => outcome(crew, Verdict::Failed(finding)),
            Err(broken) => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_shut_down) => None,
            },
        }
    }
}

impl Smoking {
    fn begin(crew: &Crew) -> Self {
        let mut looking = JoinSet::new();
        looking.spawn(look_at_all(crew.started.parts.clone()));
        Self(looking)
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
