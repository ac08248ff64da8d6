//! Scripts that a person writes: one command a line, and under each what it shows, in
//! lines that begin with `|`. Run with `UPDATE_GOLDEN=1` to have them written anew.
//!
//! ```text
//!  # A sentence that says what is shown.
//!  fleet of 11 in zones a b c
//!  release v1
//!  rollout v1 waves 10,50,100 bake 5m
//!  advance 6m
//!  expect rollout 1 running
//! ```
//!
//! The verbs are those of [`COMMANDS`]; each file under `tests/scenarios` is a test.

mod act;
mod agree;
mod nodes;
mod options;
mod show;
mod words;

use std::fmt::Write;

use anyhow::Context;

use crate::sim::world::World;

/// For whoever writes one: every form of every command.
pub const COMMANDS: &str = "\
fleet of N in zones a b c          nodes n01… in these zones, all connected
node n05 joins zone b [ephemeral]  one more, or a pod's
release v1 [retries N] [fetch_deadline D] [activate_deadline D] [put_back_deadline D]
        [progress_deadline D] [migration keep|down|never] [status] [contract]   pushes it
rollout v1 [waves L] [bake D,D] [max_in_flight A] [max_unavailable A] [min_available A]
        [max_failures A] [max_unreachable A] [on_failure pause|rollback] [canary S] [select S]
        [environment E] [supersede] [again] [emergency \"why\"]
plan v1 […]                        shows the plan and starts nothing
pause N | resume N [waves L] | abort N | retry N [again]
rollback [emergency \"why\"] [again] [N] [to v1]
halt [environment E] \"why\" | unhalt [environment E]
environment E [select S] [catch_up auto|manual]   as a coordinator that is started anew has it
node n05 fails fetch|migrate|verify|bake [of v2] [after D] \"why\"
node n05 hangs in fetch|migrate|activate|verify|bake|commit|rollback [of v2]
node n05 restarts                  its agent, with what its ledger knows
node n05 finds the migration done|not-done   when its status is asked
migration N done|not-done          a person has looked at the database
every node fails|hangs …           all of them
node n05 is ill \"why\" | is well    what runs there; well also ends its failing
node n05 leaves | returns | rolls back | is revoked | is set up anew
node n05 is cordoned \"why\" | is uncordoned | has zone=b
node n05 is drained \"why\" [force] | is undrained
kill coordinator | start coordinator
settle                             all that happens without time passing
advance D                          time passes, and all that happens in it
show rollout N | show waiting N | show nodes | explain N
expect rollout N STATE | expect n05 runs v1|nothing | expect every node runs v1
";

/// The text of a script with what it shows now; an error names the line.
pub fn run(text: &str) -> anyhow::Result<String> {
    let mut stage = Stage {
        world: World::new()?,
        shown: 0,
    };
    stage.shown = stage.world.state.position;
    let mut played = String::new();
    for (i, line) in text.lines().enumerate() {
        // What it showed last time.
        if line.starts_with('|') {
            continue;
        }
        let _infallible = writeln!(played, "{line}");
        let command = line.trim();
        if command.is_empty() || command.starts_with('#') {
            continue;
        }
        let shown = stage
            .play(command)
            .and_then(|shown| stage.must_agree().map(|()| shown))
            .with_context(|| format!("line {}: {command}", i + 1))?;
        for line in shown.lines() {
            let _infallible = writeln!(played, "{}", format!("| {line}").trim_end());
        }
    }
    Ok(played)
}

/// A world, and how much of what happened in it has been shown.
struct Stage {
    world: World,
    shown: u64,
}
