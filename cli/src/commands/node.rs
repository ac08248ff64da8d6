use fleet_proto::ids::NodeId;
use fleet_proto::labels::parse_label;
use fleet_proto::time::Timestamp;
use fleet_proto::wire::{DrainNodeRequest, LabelNodeRequest};

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::Answer;
use crate::render;
use crate::session::Session;

/// Look at one node, label it, take it out of service, or shut it out
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  fleetctl node show n01")]
pub enum Verb {
    /// Show one node in full
    #[command(after_help = "Example:\n  fleetctl node show n01")]
    Show { node: NodeId },
    /// Revoke a node's certificate: its stream is cut, and it does not come back
    #[command(after_help = "Example:\n  fleetctl node revoke n01 --reason \"disk was stolen\"")]
    Revoke {
        node: NodeId,
        /// Why; kept in the journal
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Bring nothing new to a node until it is uncordoned; what runs there runs on
    #[command(after_help = "Example:\n  fleetctl node cordon n01 --reason \"new disk on Monday\"")]
    Cordon {
        node: NodeId,
        /// Why; shown wherever the node is left out
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Let a cordoned node have its share again
    #[command(after_help = "Example:\n  fleetctl node uncordon n01")]
    Uncordon { node: NodeId },
    /// Take a node out of service: its apps are stopped, and stay so over reboots
    #[command(after_help = "\
Example:
  fleetctl node drain n01 --reason \"new disk on Monday\"

Refused while it would take more of an environment out of service than the
max_unavailable of its newest rollout (25% where there was none).")]
    Drain {
        node: NodeId,
        /// Why; shown wherever the node is left out
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        /// Even if more is out of service then than may be
        #[arg(long)]
        force: bool,
    },
    /// Start a drained node's apps again, and let it have its share
    #[command(after_help = "Example:\n  fleetctl node undrain n01")]
    Undrain { node: NodeId },
    /// Set labels (zone=a) and remove them (zone-)
    #[command(after_help = "Example:\n  fleetctl node label n01 zone=b role=api old-")]
    Label {
        node: NodeId,
        #[arg(value_name = "LABEL", required = true)]
        labels: Vec<String>,
    },
}

pub async fn run(verb: Verb, session: &Session) -> Result<Exit, Error> {
    let answer = match verb {
        Verb::Show { node } => session.operator().await?.node(node.as_str()).await?,
        Verb::Revoke { node, reason } => {
            session
                .operator()
                .await?
                .revoke_node(node.as_str(), &reason)
                .await?
        }
        Verb::Cordon { node, reason } => {
            session
                .operator()
                .await?
                .cordon_node(node.as_str(), &reason)
                .await?
        }
        Verb::Uncordon { node } => session.operator().await?.uncordon_node(node.as_str()).await?,
        Verb::Drain { node, reason, force } => {
            let request = DrainNodeRequest {
                node: node.to_string(),
                reason,
                force,
            };
            session.operator().await?.drain_node(request).await?
        }
        Verb::Undrain { node } => session.operator().await?.undrain_node(node.as_str()).await?,
        Verb::Label { node, labels } => {
            let request = label_request(&node, &labels)?;
            session.operator().await?.label_node(request).await?
        }
    };
    let Answer { json, view } = &answer;
    session
        .screen
        .document(json, |paint| render::nodes::node(view, Timestamp::now(), paint))?;
    Ok(Exit::Done)
}

fn label_request(node: &NodeId, labels: &[String]) -> Result<LabelNodeRequest, Error> {
    let mut request = LabelNodeRequest {
        node: node.to_string(),
        ..LabelNodeRequest::default()
    };
    for label in labels {
        match label.strip_suffix('-') {
            Some(name) if !label.contains('=') => request.remove.push(name.to_owned()),
            _ => {
                let (key, value) = parse_label(label)?;
                request.set.insert(key, value);
            }
        }
    }
    Ok(request)
}
