//! What a lane tells the daemon.

use fleet_proto::session::Health;

use super::{AppEvent, Over, RunLane, Task};
use crate::crew::Crew;
use crate::install::Outcome;

impl RunLane {
    pub(super) async fn tell(&self, now: &Task, outcome: Outcome) -> Result<(), Over> {
        let event = AppEvent::Outcome {
            assignment: now.number,
            outcome,
        };
        let message = (self.converge.app.clone(), event);
        self.events.send(message).await.map_err(|_| Over)
    }

    pub(super) async fn tell_health(&mut self) -> Result<(), Over> {
        let health = self.crew.as_ref().map_or(Health::Empty, Crew::health);
        self.tell_this_health(health).await
    }

    pub(super) async fn tell_this_health(&mut self, health: Health) -> Result<(), Over> {
        if self.health.as_ref() == Some(&health) {
            return Ok(());
        }
        self.health = Some(health.clone());
        let message = (self.converge.app.clone(), AppEvent::Health(health));
        self.events.send(message).await.map_err(|_| Over)
    }
}
