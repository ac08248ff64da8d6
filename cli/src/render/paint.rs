//! Colour, where it is wanted. Nothing is said by colour alone.

use fleet_proto::session::{Health, Phase};
use fleet_proto::view::RolloutStateView;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    colour: bool,
}

impl Paint {
    pub const PLAIN: Self = Self { colour: false };

    pub const fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn busy(self, text: &str) -> String {
        self.with("36", text)
    }

    pub fn waits(self, text: &str) -> String {
        self.with("33", text)
    }

    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn state(self, state: RolloutStateView) -> String {
        match state {
            RolloutStateView::Running => self.busy(state.word()),
            RolloutStateView::Paused | RolloutStateView::Held => self.waits(state.word()),
            RolloutStateView::Succeeded => self.good(state.word()),
            RolloutStateView::Failed | RolloutStateView::Aborted => self.bad(state.word()),
        }
    }

    pub fn phase(self, phase: Phase) -> String {
        match phase {
            Phase::Pending => phase.word().to_owned(),
            Phase::Done => self.good(phase.word()),
            Phase::Failed | Phase::RollingBack | Phase::RolledBack => self.bad(phase.word()),
            _ => self.busy(phase.word()),
        }
    }

    pub fn health(self, health: &Health) -> String {
        match health {
            Health::Empty => "empty".to_owned(),
            Health::Unknown => "unknown".to_owned(),
            Health::Healthy => self.good("healthy"),
            Health::Unhealthy { .. } => self.bad("unhealthy"),
        }
    }
}
