use fleet_proto::time::Timestamp;

use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// Print a link that opens the dashboard as you, once and within two minutes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl dashboard
  ssh -L 7480:127.0.0.1:7480 COORDINATOR      first, where the dashboard is on its loopback only")]
pub struct Args {}

pub async fn run(_args: &Args, session: &Session) -> Result<Exit, Error> {
    let opened = session.operator().await?.open_dashboard().await?;
    let link = format!(
        "{}/session#code={}",
        opened.url.trim_end_matches('/'),
        opened.code
    );
    let expires_at = Timestamp(opened.expires_at_ms);
    let json = serde_json::json!({ "link": link, "expires_at": expires_at });
    session.screen.value(&json, |_| link.clone())?;
    session.screen.say(&format!(
        "it opens once, until {expires_at}, and whoever opens it is you"
    ));
    Ok(Exit::Done)
}
