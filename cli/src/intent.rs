//! The flags that say how a release shall go out, and the intent made of them.

use fleet_proto::digest::Digest;
use fleet_proto::labels::{LabelError, Selector};
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::OnFailure;
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;
use fleet_proto::waves::WaveSpec;
use fleet_proto::wire;

use crate::scope::{Scope, ScopeArgs};

/// Everything here is parsed before anything is sent, so that a mistake is found with
/// no coordinator in reach.
#[derive(Debug, Clone, clap::Args)]
pub struct IntentArgs {
    /// The release to roll out
    #[arg(value_name = "VERSION")]
    pub version: Version,
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// How far each wave reaches, cumulative: percentages, or counts as in 1n [default: the release's]
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    pub waves: Option<WaveSpec>,
    /// How long to watch after each wave; the last one repeats
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub bake: Vec<Span>,
    /// How many steps at once, as a count or a share
    #[arg(long, value_name = "AMOUNT")]
    pub max_in_flight: Option<Amount>,
    /// How many of the environment's nodes may be down at once, whatever the reason
    #[arg(long, value_name = "AMOUNT")]
    pub max_unavailable: Option<Amount>,
    /// How many of them have to remain in service besides, whatever that limit says
    #[arg(long, value_name = "AMOUNT")]
    pub min_available: Option<Amount>,
    /// How many nodes may fail because of the release, over the whole rollout
    #[arg(long, value_name = "AMOUNT")]
    pub max_failures: Option<Amount>,
    /// How many nodes may be lost for other reasons, over the whole rollout
    #[arg(long, value_name = "AMOUNT")]
    pub max_unreachable: Option<Amount>,
    /// Nodes that go first
    #[arg(long, value_name = "SELECTOR", value_parser = some_nodes)]
    pub canary: Option<Selector>,
    /// Only these nodes of the environment
    #[arg(long, value_name = "SELECTOR", value_parser = some_nodes)]
    pub select: Option<Selector>,
    /// What to do when more fail than may
    #[arg(long, value_name = "WHAT", value_parser = on_failure)]
    pub on_failure: Option<OnFailure>,
    /// Why; kept with the rollout
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub reason: String,
    #[command(flatten)]
    pub insistence: InsistenceArgs,
}

/// What is protected, and passed by all the same.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InsistenceArgs {
    /// End the rollout that is under way, and take its place
    #[arg(long)]
    pub supersede: bool,
    /// Also where everything is halted; needs --reason
    #[arg(long)]
    pub emergency: bool,
    /// Also a release that failed in this environment before
    #[arg(long)]
    pub again: bool,
}

/// An empty one would mean every node: most likely a variable of a script that is not set.
fn some_nodes(text: &str) -> Result<Selector, String> {
    if text.trim().is_empty() {
        return Err("an empty selector names no node; leave the option away to mean all".to_owned());
    }
    text.parse().map_err(|error: LabelError| error.to_string())
}

fn on_failure(text: &str) -> Result<OnFailure, String> {
    match text {
        "rollback" => Ok(OnFailure::Rollback),
        "pause" => Ok(OnFailure::Pause),
        other => Err(format!("`{other}` is neither rollback nor pause")),
    }
}

fn or_empty(value: Option<&impl ToString>) -> String {
    value.map_or_else(String::new, ToString::to_string)
}

impl IntentArgs {
    pub fn plain(version: Version) -> Self {
        Self {
            version,
            scope: ScopeArgs::default(),
            waves: None,
            bake: Vec::new(),
            max_in_flight: None,
            max_unavailable: None,
            min_available: None,
            max_failures: None,
            max_unreachable: None,
            canary: None,
            select: None,
            on_failure: None,
            reason: String::new(),
            insistence: InsistenceArgs::default(),
        }
    }

    pub fn intent(&self, scope: Scope) -> wire::RolloutIntent {
        let on_failure = self.on_failure.map(|on_failure| match on_failure {
            OnFailure::Rollback => "rollback",
            OnFailure::Pause => "pause",
        });
        wire::RolloutIntent {
            app: scope.app,
            environment: scope.environment,
            version: self.version.to_string(),
            waves: or_empty(self.waves.as_ref()),
            bake: self.bake.iter().map(ToString::to_string).collect(),
            max_in_flight: or_empty(self.max_in_flight.as_ref()),
            max_unavailable: or_empty(self.max_unavailable.as_ref()),
            min_available: or_empty(self.min_available.as_ref()),
            max_failures: or_empty(self.max_failures.as_ref()),
            max_unreachable: or_empty(self.max_unreachable.as_ref()),
            on_failure: on_failure.unwrap_or_default().to_owned(),
            select: or_empty(self.select.as_ref()),
            canary: or_empty(self.canary.as_ref()),
            reason: self.reason.clone(),
            request_id: request_id(),
            supersede: self.insistence.supersede,
            emergency: self.insistence.emergency,
            again: self.insistence.again,
        }
    }
}

/// Unlike any other order's; nobody has to guess it, so no randomness is needed.
fn request_id() -> String {
    let at = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(Timestamp::now().0.into(), |since| since.as_nanos());
    Digest::of(format!("{at} {}", std::process::id()).as_bytes()).short()
}
