//! What the coordinator knows of one node.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ClusterName, RolloutNumber};
use fleet_proto::labels::Labels;
use fleet_proto::release::{Platform, ReleaseRef};
use fleet_proto::session::{Facts, Health, Order};
use fleet_proto::time::Timestamp;

use super::event::Tenure;
use super::service::Service;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub labels: Labels,
    pub platform: Platform,
    pub enrolled_at: Timestamp,
    #[serde(default)]
    pub tenure: Tenure,
    /// Whose pod it is.
    #[serde(default)]
    pub cluster: Option<ClusterName>,
    /// The key for which it got its first certificate.
    pub enrolled_key: Digest,
    /// Certificates that begin before this are of a machine whose place was taken.
    pub certificates_from: Timestamp,
    pub connection: Connection,
    /// Nothing new is brought to it meanwhile.
    #[serde(default)]
    pub cordon: Option<Cordon>,
    #[serde(default)]
    pub service: Service,
    /// Its agent says that it understands being drained.
    #[serde(default)]
    pub can_be_drained: bool,
    pub facts: Option<Facts>,
    pub agent_version: Option<String>,
    pub apps: BTreeMap<AppName, NodeApp>,
    /// The newest entry of the node's own history that is in the journal.
    pub history_taken: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    Connected,
    Silent {
        since: Timestamp,
        until: Timestamp,
    },
    Unreachable {
        since: Timestamp,
    },
    Revoked {
        at: Timestamp,
    },
    /// As revoked, but its name is free again.
    Expired {
        at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cordon {
    pub by: String,
    pub reason: Option<String>,
    pub since: Timestamp,
}

impl fmt::Display for Cordon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}", self.by)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// How one app stands on the node, as last reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeApp {
    pub current: Option<ReleaseRef>,
    pub last_good: Option<ReleaseRef>,
    pub health: Health,
    /// The newest order to this node about this app; sent again when the node comes
    /// back and has not seen it.
    pub order: Option<IssuedOrder>,
    /// The newest order to move, taken back or not: who has seen less may yet act on it.
    #[serde(default)]
    pub told: (RolloutNumber, u32),
    /// What it ran was taken away by a move that came to nothing.
    #[serde(default)]
    pub emptied: bool,
    /// On its way to another release, so it may be down at any moment.
    #[serde(default)]
    pub busy: bool,
    /// What is wanted of this node, where that is not what its environment wants.
    #[serde(default)]
    pub wanted: Option<ReleaseRef>,
    /// What it left by itself, or by a person's hand, newest last: nobody brings that again
    /// unasked.
    #[serde(default)]
    pub left: Vec<ReleaseRef>,
    /// A catch-up came to nothing for want of infrastructure; not before this.
    #[serde(default)]
    pub catch_up_after: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedOrder {
    pub number: RolloutNumber,
    pub generation: u32,
    pub order: Order,
}

impl Default for NodeApp {
    fn default() -> Self {
        Self {
            current: None,
            last_good: None,
            health: Health::Empty,
            order: None,
            told: (RolloutNumber(0), 0),
            emptied: false,
            busy: false,
            wanted: None,
            left: vec![],
            catch_up_after: Timestamp(0),
        }
    }
}

impl NodeApp {
    /// One that left more than this is looked at by a person, long since.
    const LEFT_MAX: usize = 16;

    pub fn note_left(&mut self, release: &ReleaseRef) {
        self.left.retain(|left| left != release);
        self.left.push(release.clone());
        let excess = self.left.len().saturating_sub(Self::LEFT_MAX);
        self.left.drain(..excess);
    }

    /// Served, and does not serve well now, or may stop at any moment.
    pub fn is_down(&self, is_in_service: bool) -> bool {
        let is_well = is_in_service && self.health == Health::Healthy && !self.busy;
        self.emptied || (self.current.is_some() && !is_well)
    }

    pub fn has_left(&self, release: &ReleaseRef) -> bool {
        self.left.contains(release)
    }
}

impl Node {
    /// One that was let in and has not been heard of.
    pub fn enrolled(platform: &Platform, key: Digest, certificates_from: Timestamp, at: Timestamp) -> Self {
        Self {
            labels: Labels::new(),
            platform: platform.clone(),
            enrolled_at: at,
            tenure: Tenure::Lasting,
            cluster: None,
            enrolled_key: key,
            certificates_from,
            connection: Connection::Unreachable { since: at },
            cordon: None,
            service: Service::default(),
            can_be_drained: false,
            facts: None,
            agent_version: None,
            apps: BTreeMap::new(),
            history_taken: 0,
        }
    }

    /// Its certificate is worth nothing any more, and it is no member of anything.
    pub fn is_revoked(&self) -> bool {
        matches!(self.connection, Connection::Revoked { .. }) || self.has_expired()
    }

    /// Nobody has taken its certificate from it by hand.
    pub fn has_expired(&self) -> bool {
        matches!(self.connection, Connection::Expired { .. })
    }

    /// After the grace: nobody waits for it in silence.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.connection, Connection::Unreachable { .. }) || self.is_revoked()
    }

    /// Who said that nothing new is brought to it, and why.
    pub fn why_let_alone(&self) -> Option<String> {
        let how = if self.service.drained {
            "drained"
        } else {
            "cordoned"
        };
        self.cordon.as_ref().map(|cordon| format!("{how} {cordon}"))
    }

    pub fn is_connected(&self) -> bool {
        self.connection == Connection::Connected
    }

    pub fn app(&self, app: &AppName) -> Option<&NodeApp> {
        self.apps.get(app)
    }

    pub fn current(&self, app: &AppName) -> Option<&ReleaseRef> {
        self.apps.get(app).and_then(|app| app.current.as_ref())
    }

    /// Runs a release of the app, well or not.
    pub fn serves(&self, app: &AppName) -> bool {
        self.current(app).is_some()
    }

    /// Runs a release of the app, and has not found out yet how it does.
    pub fn is_yet_to_tell(&self, app: &AppName) -> bool {
        self.is_connected()
            && !self.service.drained
            && self
                .apps
                .get(app)
                .is_some_and(|app| app.current.is_some() && app.health == Health::Unknown)
    }

    pub fn is_healthy(&self, app: &AppName) -> bool {
        self.is_connected()
            && self
                .apps
                .get(app)
                .is_some_and(|app| app.health == Health::Healthy)
    }
}
