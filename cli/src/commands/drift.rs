use fleet_proto::ids::NodeId;
use fleet_proto::wire::DriftQuery;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::render::screen::Reader;
use crate::scope::ScopeArgs;
use crate::session::Session;

/// Ask nodes what on them is not as Fleet left it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl drift
  fleetctl drift n01 n02
  fleetctl drift --env production --output json

Nodes compare the files of the release that they run, what was installed for its units, and
what runs, with what it should be. Nothing is changed. A node takes a minute at most, at half a
core, and lists 100 findings.

Exit codes: 0 nothing has drifted; 1 something has; 3 a node could not say, or not all of it")]
pub struct Args {
    /// Only these; by default all nodes, or those of the environment
    #[arg(value_name = "NODE")]
    nodes: Vec<NodeId>,
    #[command(flatten)]
    scope: ScopeArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let scope = session.scope(&args.scope)?;
    let query = DriftQuery {
        nodes: args.nodes.iter().map(ToString::to_string).collect(),
        environment: scope.environment,
        app: scope.app,
    };
    let mut answers = session.operator().await?.drift(query).await?;
    let mut tally = render::drift::Tally::default();
    while let Some(answer) = answers.next().await? {
        tally.add(&answer.view);
        let text = render::drift::node(&answer.view);
        // Of a node that is as it was left there is nothing to say.
        if session.screen.is_json() || !text.is_empty() {
            let printed = session.screen.document(&answer.json, |_| text)?;
            if printed == Reader::Gone {
                break;
            }
        }
    }
    session.screen.say(&tally.sentence());
    Ok(exit(&tally))
}

/// What is not known outweighs what is: whoever looks for drift has not seen all of it.
fn exit(tally: &render::drift::Tally) -> Exit {
    match (tally.unknown, tally.drifted) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Failed,
        _ => Exit::Unreachable,
    }
}
