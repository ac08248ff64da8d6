use fleet_proto::ids::NodeId;
use fleet_proto::labels::parse_label;
use fleet_proto::time::Timestamp;
use fleet_proto::wire::LabelNodeRequest;

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::Answer;
use crate::render;
use crate::session::Session;

/// Look at one node, label it, or shut it out
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
