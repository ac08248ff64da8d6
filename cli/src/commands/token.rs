use fleet_proto::ids::{NodeId, TokenId};
use fleet_proto::labels::parse_label;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::wire::CreateTokenRequest;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::session::Session;

/// Join tokens: how a new node gets in
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  fleetctl token create --label zone=a --label environment=production --uses 3")]
pub enum Verb {
    /// Make a join token; it is shown once
    #[command(after_help = "\
Example:
  fleetctl token create --label zone=a --label environment=production --uses 3 --valid-for 1h
  fleet-agent enrol --config /etc/fleet/agent.toml --token-file FILE     then, on the node")]
    Create(CreateArgs),
    /// List tokens, without their secrets
    #[command(after_help = "Example:\n  fleetctl token list")]
    List,
    /// Make a token useless from now on
    #[command(after_help = "Example:\n  fleetctl token revoke 1f3a9c02")]
    Revoke { id: TokenId },
}

#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// A label that nodes get by this token, as zone=a; may be given several times
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Only for this node, be it new or one that lost its identity; it keeps its labels
    #[arg(long, value_name = "NODE", conflicts_with = "uses")]
    node: Option<NodeId>,
    /// How many nodes may use it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it is good for
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    valid_for: Span,
    /// For pods: its nodes expire some minutes after they are gone
    #[arg(long)]
    ephemeral: bool,
}

pub async fn run(verb: Verb, session: &Session) -> Result<Exit, Error> {
    match verb {
        Verb::Create(args) => create(&args, session).await?,
        Verb::List => {
            let answer = session.operator().await?.tokens().await?;
            session
                .screen
                .document(&answer.json, |_| render::tokens::table(&answer.view))?;
        }
        Verb::Revoke { id } => {
            let answer = session.operator().await?.revoke_token(id.as_str()).await?;
            session
                .screen
                .document(&answer.json, |_| format!("token {id} is revoked"))?;
        }
    }
    Ok(Exit::Done)
}

async fn create(args: &CreateArgs, session: &Session) -> Result<(), Error> {
    let labels = args
        .labels
        .iter()
        .map(|label| parse_label(label))
        .collect::<Result<_, _>>()?;
    let request = CreateTokenRequest {
        labels,
        uses: args.uses,
        valid_for: args.valid_for.to_string(),
        node: args.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        ephemeral: args.ephemeral,
    };
    let token = session.operator().await?.create_token(request).await?;
    let json = serde_json::json!({
        "id": token.id,
        "token": token.token,
        "expires_at": Timestamp(token.expires_at_ms),
    });
    session.screen.value(&json, |_| token.token.clone())?;
    session.screen.say(&format!(
        "token {} is good for {} until {} and is not shown again",
        token.id,
        match &args.node {
            Some(node) => node.to_string(),
            None => render::rollouts::count(args.uses as usize, "node"),
        },
        Timestamp(token.expires_at_ms)
    ));
    Ok(())
}
