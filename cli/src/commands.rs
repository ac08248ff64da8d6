//! One file a verb. A verb reads its arguments, asks the coordinator, and hands what
//! it learned to [`crate::render`].

pub mod abort;
mod act;
pub mod backups;
pub mod completions;
pub mod dashboard;
pub mod dev;
pub mod drift;
pub mod events;
pub mod explain;
pub mod halt;
pub mod history;
pub mod init;
pub mod key;
pub mod logs;
pub mod man;
pub mod migration;
pub mod node;
pub mod nodes;
pub mod operator;
pub mod pause;
pub mod plan;
pub mod release;
pub mod resume;
pub mod retry;
pub mod rollback;
pub mod rollout;
pub mod status;
pub mod token;
pub mod top;
pub mod unhalt;

use crate::cli::Verb;
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

pub async fn run(verb: Verb, session: &Session) -> Result<Exit, Error> {
    match verb {
        Verb::Dev(args) => dev::run(args, session).await,
        Verb::Init(args) => init::run(&args, session),
        Verb::Key(verb) => key::run(&verb, session),
        Verb::Release(verb) => release::run(verb, session).await,
        Verb::Plan(args) => plan::run(&args, session).await,
        Verb::Rollout(args) => rollout::run(&args, session).await,
        Verb::Status(args) => status::run(&args, session).await,
        Verb::Top(args) => top::run(&args, session).await,
        Verb::Explain(args) => explain::run(&args, session).await,
        Verb::History(args) => history::run(&args, session).await,
        Verb::Nodes(args) => nodes::run(&args, session).await,
        Verb::Node(verb) => node::run(verb, session).await,
        Verb::Token(verb) => token::run(verb, session).await,
        Verb::Operator(verb) => operator::run(verb, session).await,
        Verb::Dashboard(args) => dashboard::run(&args, session).await,
        Verb::Pause(args) => pause::run(&args, session).await,
        Verb::Resume(args) => resume::run(&args, session).await,
        Verb::Abort(args) => abort::run(&args, session).await,
        Verb::Backups(args) => backups::run(args, session).await,
        Verb::Migration(args) => migration::run(&args, session).await,
        Verb::Retry(args) => retry::run(&args, session).await,
        Verb::Halt(args) => halt::run(&args, session).await,
        Verb::Unhalt(args) => unhalt::run(&args, session).await,
        Verb::Rollback(args) => rollback::run(&args, session).await,
        Verb::Events(args) => events::run(&args, session).await,
        Verb::Drift(args) => drift::run(&args, session).await,
        Verb::Logs(args) => logs::run(&args, session).await,
        Verb::Completions(args) => completions::run(&args, session),
        Verb::Man(args) => man::run(&args, session),
    }
}
