//! `fleet-agent rollback`: a person on the node, with or without a coordinator.

use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, FailureClass, Phase};
use fleet_proto::version::Version;

use crate::ledger::{AppRecord, Direction};

/// From what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub from: Option<ReleaseRef>,
    pub to: ReleaseRef,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByHandError {
    #[error("there is no other good release to go back to; this node runs {}", .current.as_deref().unwrap_or("nothing"))]
    NothingGood { current: Option<String> },
    #[error("{version} is not among the good releases of this node, or was gone back from; good here: {}", .known.join(", "))]
    NotGood { version: Version, known: Vec<String> },
    #[error("this node runs {0} already")]
    Already(Version),
}

impl AppRecord {
    /// Puts the node back, by its own record alone. The fence stays as it is: an order
    /// that the coordinator repeats is a duplicate, and does not undo this.
    pub fn put_back_by_hand(&mut self, to: Option<&Version>) -> Result<Moved, ByHandError> {
        let from = self.current_release().cloned();
        let target = match to {
            Some(version) => self.good_version(version)?,
            None => self
                .good
                .iter()
                .rev()
                .find(|good| Some(&good.release) != from.as_ref())
                .cloned()
                .ok_or_else(|| ByHandError::NothingGood {
                    current: from.as_ref().map(ToString::to_string),
                })?,
        };
        if Some(&target.release) == from.as_ref() {
            return Err(ByHandError::Already(target.release.version));
        }
        let name = from
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let mut step = self.new_step(Some(target.release.clone()), Direction::Back, Phase::RollingBack);
        step.failure = Some(Failure {
            class: FailureClass::Operator,
            check: None,
            message: format!("put back by hand on the node, from {name} to {}", target.release),
            figure: None,
            limit: None,
            log_tail: vec![],
        });
        step.failed = from.clone();
        self.good.retain(|good| Some(&good.release) != from.as_ref());
        self.step = Some(step);
        self.current = Some(target.clone());
        Ok(Moved {
            from,
            to: target.release,
        })
    }

    fn good_version(&self, version: &Version) -> Result<crate::ledger::Installed, ByHandError> {
        self.good
            .iter()
            .rev()
            .find(|good| good.release.version == *version)
            .cloned()
            .ok_or_else(|| ByHandError::NotGood {
                version: version.clone(),
                known: self
                    .good
                    .iter()
                    .rev()
                    .map(|good| good.release.to_string())
                    .collect(),
            })
    }
}
