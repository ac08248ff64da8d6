//! How a node stands, as one letter.

use fleet_proto::ids::AppName;
use fleet_proto::session::{Health, Phase};
use fleet_proto::view::{ConnectionView, NodeView, RolloutKindView, RolloutView, StepView};

use super::colours::Mood;

/// In the order in which it deserves attention: where one letter stands for many nodes, it is
/// the first of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Failed,
    Unhealthy,
    Unreachable,
    RollingBack,
    RolledBack,
    Silent,
    Migrating,
    Activating,
    Verifying,
    Staged,
    Fetching,
    Baking,
    Drained,
    Cordoned,
    Unknown,
    Pending,
    Empty,
    Good,
    Revoked,
    Expired,
}

impl Standing {
    pub const ALL: [Self; 20] = [
        Self::Failed,
        Self::Unhealthy,
        Self::Unreachable,
        Self::RollingBack,
        Self::RolledBack,
        Self::Silent,
        Self::Migrating,
        Self::Activating,
        Self::Verifying,
        Self::Staged,
        Self::Fetching,
        Self::Baking,
        Self::Drained,
        Self::Cordoned,
        Self::Unknown,
        Self::Pending,
        Self::Empty,
        Self::Good,
        Self::Revoked,
        Self::Expired,
    ];

    /// Letters of those that a person has to look at do not look like others.
    pub const fn letter(self) -> char {
        match self {
            Self::Failed => 'X',
            Self::Unhealthy => '!',
            Self::Unreachable => '?',
            Self::RollingBack => '<',
            Self::RolledBack => 'R',
            Self::Silent => '~',
            Self::Migrating => 'm',
            Self::Activating => 'a',
            Self::Verifying => 'v',
            Self::Staged => 's',
            Self::Fetching => 'f',
            Self::Baking => 'b',
            Self::Drained => 'd',
            Self::Cordoned => 'c',
            Self::Unknown => 'u',
            Self::Pending => '.',
            Self::Empty => '-',
            Self::Good => 'o',
            Self::Revoked => 'x',
            Self::Expired => 'e',
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unhealthy => "unhealthy",
            Self::Unreachable => "unreachable",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Silent => "silent",
            Self::Migrating => "migrating",
            Self::Activating => "activating",
            Self::Verifying => "verifying",
            Self::Staged => "staged",
            Self::Fetching => "fetching",
            Self::Baking => "baking",
            Self::Drained => "drained",
            Self::Cordoned => "cordoned",
            Self::Unknown => "unknown",
            Self::Pending => "pending",
            Self::Empty => "empty",
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    pub const fn mood(self) -> Mood {
        match self {
            Self::Failed | Self::Unhealthy => Mood::Bad,
            Self::Unreachable | Self::RollingBack | Self::RolledBack | Self::Silent => Mood::Warn,
            Self::Migrating
            | Self::Activating
            | Self::Verifying
            | Self::Staged
            | Self::Fetching
            | Self::Baking => Mood::Busy,
            Self::Good => Mood::Good,
            Self::Drained
            | Self::Cordoned
            | Self::Unknown
            | Self::Pending
            | Self::Empty
            | Self::Revoked
            | Self::Expired => Mood::Quiet,
        }
    }

    pub fn of_step(step: &StepView, rollout: &RolloutView) -> Self {
        match step.phase {
            _ if step.unreachable => Self::Unreachable,
            Phase::Pending => Self::Pending,
            Phase::Fetching => Self::Fetching,
            Phase::Staged => Self::Staged,
            Phase::Migrating => Self::Migrating,
            Phase::Activating => Self::Activating,
            Phase::Verifying => Self::Verifying,
            Phase::Baking => Self::Baking,
            Phase::Done => Self::Good,
            Phase::Failed => Self::Failed,
            Phase::RollingBack => Self::RollingBack,
            // Put back is what a rollback wants, and what a rollout does not.
            Phase::RolledBack if matches!(rollout.kind, RolloutKindView::Rollback { .. }) => Self::Good,
            Phase::RolledBack => Self::RolledBack,
        }
    }

    /// `step` is how its step stands in a rollout that is not over; `only`, the app that is
    /// looked at.
    pub fn of_node(node: &NodeView, step: Option<Self>, only: Option<&AppName>) -> Self {
        match node.connection {
            ConnectionView::Revoked { .. } => return Self::Revoked,
            ConnectionView::Expired { .. } => return Self::Expired,
            ConnectionView::Unreachable { .. } if step != Some(Self::Failed) => return Self::Unreachable,
            _ => {}
        }
        // What a step does to the health is told by its phase.
        if let Some(step) = step.filter(|step| !matches!(step, Self::Pending | Self::Good)) {
            return step;
        }
        if node.drained.is_some() {
            return Self::Drained;
        }
        let apps = node
            .apps
            .iter()
            .filter(|app| only.is_none_or(|only| *only == app.app));
        let health = apps
            .map(|app| match app.health {
                Health::Unhealthy { .. } => Self::Unhealthy,
                Health::Unknown => Self::Unknown,
                Health::Empty => Self::Empty,
                Health::Healthy => Self::Good,
            })
            .min()
            .unwrap_or(Self::Empty);
        let silent = matches!(node.connection, ConnectionView::Silent { .. }).then_some(Self::Silent);
        let cordoned = node.cordon.as_ref().map(|_| Self::Cordoned);
        let pending = step.filter(|step| *step == Self::Pending);
        [silent, cordoned, pending]
            .into_iter()
            .flatten()
            .fold(health, Self::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_and_word_is_of_one_standing() {
        for (i, standing) in Standing::ALL.into_iter().enumerate() {
            for other in &Standing::ALL[i + 1..] {
                assert!(standing < *other);
                assert_ne!(standing.letter(), other.letter());
                assert_ne!(standing.word(), other.word());
            }
        }
    }
}
