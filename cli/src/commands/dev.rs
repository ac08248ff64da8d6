use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::dev::fleet::stop::stop;
use crate::dev::fleet::{Fleet, Ready};
use crate::dev::story;
use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::render::screen::Screen;
use crate::session::Session;

/// Start a whole fleet on this machine: a coordinator, agents, a sample app
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl dev --nodes 11 --dir fleet        then, in another terminal: . fleet/env
  fleetctl dev --story                       three rollouts, one of them bad; ends by itself
  fleetctl dev --stop --dir fleet            ends what a killed `fleetctl dev` left running

Needs no root and no cloud. Ctrl-C stops every process; a fleet in a directory that
was named is there again next time.")]
pub struct Args {
    /// How many nodes, spread over the zones a, b and c
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=500))]
    nodes: u16,
    /// Where it lives; a temporary directory otherwise
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Tell the whole tale by itself: a good release, a better one, a bad one
    #[arg(long)]
    story: bool,
    /// End what still runs of the fleet in DIR, as after a kill -9, and nothing else
    #[arg(long, requires = "dir", conflicts_with_all = ["nodes", "story"])]
    stop: bool,
}

/// Every way in which people and systems end a program.
struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::file("cannot listen for signals"));
        Ok(Self {
            signals: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
        })
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

pub async fn run(args: Args, session: &Session) -> Result<Exit, Error> {
    let screen = &session.screen;
    if let (true, Some(directory)) = (args.stop, &args.dir) {
        let stopped = stop(directory, screen).await?;
        screen.value(&stopped, |_| render::dev::stopped(&stopped))?;
        return Ok(Exit::Done);
    }
    // Before the first process: from here on nothing ends without being stopped.
    let mut signals = Stop::listen()?;
    let mut fleet = Fleet::prepare(args.dir.as_deref(), usize::from(args.nodes)).await?;
    let result = tokio::select! {
        result = live(&args, &mut fleet, screen) => result,
        () = signals.asked() => Ok(if args.story { Exit::Failed } else { Exit::Done }),
    };
    screen.say("stopping");
    let stopped = fleet.tear_down(screen).await;
    let exit = result?;
    stopped?;
    Ok(exit)
}

async fn live(args: &Args, fleet: &mut Fleet, screen: &Screen) -> Result<Exit, Error> {
    let mut ready = fleet.bring_up(screen).await?;
    announce(args, fleet, &ready, screen)?;
    if args.story {
        let tale = story::tell(fleet, &mut ready.operator, screen).await?;
        screen.value(&tale, |_| render::dev::tale(&tale))?;
        return Ok(if tale.as_it_should {
            Exit::Done
        } else {
            Exit::Failed
        });
    }
    loop {
        let end = fleet.next_end().await;
        screen.say(&end);
    }
}

/// The file `env` comes last: whoever waits for it finds everything else in place.
fn announce(args: &Args, fleet: &Fleet, ready: &Ready, screen: &Screen) -> Result<(), Error> {
    let path = fleet.layout.env();
    let beside = path.with_extension("new");
    std::fs::write(&beside, render::dev::env(fleet, ready))
        .and_then(|()| std::fs::rename(&beside, &path))
        .map_err(Error::file(format!("cannot write {}", path.display())))?;
    if !args.story {
        let json = serde_json::json!({
            "directory": fleet.layout.root(),
            "coordinator": ready.address,
            "http": ready.http,
            "env": path,
            "nodes": fleet.nodes.iter().map(|node| &node.name).collect::<Vec<_>>(),
        });
        screen.value(&json, |_| render::dev::ready(fleet, ready))?;
    }
    Ok(())
}
