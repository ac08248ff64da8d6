//! Whose wish an event was.

use crate::rollout::event::Event;

pub(super) fn of(event: &Event) -> Option<&str> {
    match event {
        Event::Halted { by, .. }
        | Event::Unhalted { by, .. }
        | Event::ReleasePushed { by, .. }
        | Event::TokenCreated { by, .. }
        | Event::TokenRevoked { by, .. }
        | Event::OperatorAdded { by, .. }
        | Event::OperatorRemoved { by, .. }
        | Event::AccessTokenCreated { by, .. }
        | Event::AccessTokenRevoked { by, .. }
        | Event::NodeLabelled { by, .. }
        | Event::NodeRevoked { by, .. }
        | Event::NodeCordoned { by, .. }
        | Event::NodeUncordoned { by, .. }
        | Event::NodeDraining { by, .. }
        | Event::NodeUndrained { by, .. }
        | Event::RolloutResumed { by, .. }
        | Event::RolloutRetried { by, .. }
        | Event::RolloutWidened { by, .. }
        | Event::MigrationMoved { by, .. } => Some(by),
        Event::RolloutPaused { by, .. } | Event::RolloutEnded { by, .. } => by.as_deref(),
        Event::RolloutStarted { rollout, .. } => Some(&rollout.by),
        _ => None,
    }
}
