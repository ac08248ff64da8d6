use fleet_proto::ids::{ComponentName, NodeId};
use fleet_proto::quantity::Span;
use fleet_proto::session::question::LINES_MAX;
use fleet_proto::wire::{LogsQuery, LogsWanted};

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::Operator;
use crate::render;
use crate::render::screen::Reader;
use crate::scope::AppArgs;
use crate::session::Session;

/// Where nothing says how far back: a screen or two.
const LINES: u32 = 200;

/// Print what a node's components write, from the node itself
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl logs n01
  fleetctl logs n01 api --since 10m
  fleetctl logs n01 api --follow

Lines are cut at 8 KiB. While it follows, what is written faster than it is read here is
passed over, and counted. --since goes by the node's clock and the log's own times: those of
journald, and those that Fleet notes in front of what it supervises. pm2's files have none:
of one that has changed since, the last lines are shown.")]
pub struct Args {
    node: NodeId,
    /// Only this component; by default all of them, each line with its component in front
    component: Option<ComponentName>,
    #[command(flatten)]
    app: AppArgs,
    /// Go on with what is written from now on, whichever release writes it
    #[arg(long, short)]
    follow: bool,
    /// Only what was written in this time before now, as 10m
    #[arg(long, value_name = "DURATION")]
    since: Option<Span>,
    /// Of each component the newest so many; by default 200, and with --since all, up to 10000
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(LINES_MAX)))]
    lines: Option<u32>,
}

impl Args {
    fn query(&self, app: String) -> LogsQuery {
        let lines = if self.since.is_some() { LINES_MAX } else { LINES };
        LogsQuery {
            node: self.node.to_string(),
            wanted: Some(LogsWanted {
                app,
                component: self
                    .component
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                since_ms: self.since.map_or(0, Span::as_millis),
                lines: self.lines.unwrap_or(lines),
                follow: self.follow,
            }),
        }
    }
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let query = args.query(args.app.resolve(&session.settings)?);
    let mut operator = session.operator().await?;
    tokio::select! {
        result = print(&mut operator, query, args, session) => result,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

async fn print(
    operator: &mut Operator,
    query: LogsQuery,
    args: &Args,
    session: &Session,
) -> Result<Exit, Error> {
    let mut logs = operator.logs(query).await?;
    while let Some(lines) = logs.next().await? {
        let screen = session.screen;
        let names = render::logs::Names::of(args.component.as_ref());
        let text = match screen.is_json() {
            true => render::logs::json(&args.node, &lines),
            false => render::logs::text(&lines, names),
        };
        // Beside the connection, which has to be kept alive while nobody reads here.
        let printed = tokio::task::spawn_blocking(move || screen.raw(text.as_bytes())).await;
        let printed = printed.map_err(|error| Error::Answer(error.to_string()))?;
        if printed? == Reader::Gone {
            return Ok(Exit::Done);
        }
    }
    Ok(Exit::Done)
}
