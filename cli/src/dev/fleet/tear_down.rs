//! From everything running to nothing.

use std::path::Path;

use tokio::task::JoinSet;

use super::{Fleet, finish};
use crate::dev::binaries::Binaries;
use crate::dev::layout::Layout;
use crate::dev::node::Node;
use crate::dev::stray;
use crate::error::Error;
use crate::render::screen::Screen;

/// Ends a fleet whose `dev` is gone, as after a kill -9 or a terminal that closed. Gives
/// the programs that were ended.
pub async fn stop_lost(directory: &Path) -> Result<Vec<String>, Error> {
    let root = directory
        .canonicalize()
        .map_err(Error::file(format!("cannot find {}", directory.display())))?;
    let layout = Layout::new(root.clone());
    let binaries = Binaries::find()?;
    let mut ended = stray::stop(&root, stray::Stray::is_agent).await;
    for node in Node::existing(&layout)? {
        node.stop_apps(&binaries).await?;
    }
    ended.extend(stray::stop(&root, stray::Stray::is_coordinator).await);
    ended.extend(stray::stop(&root, |_| true).await);
    nothing_is_left(&root)?;
    let _absent = std::fs::remove_file(layout.env());
    Ok(ended
        .iter()
        .map(|stray| stray.program.display().to_string())
        .collect())
}

fn nothing_is_left(root: &Path) -> Result<(), Error> {
    match stray::find(root).first() {
        None => Ok(()),
        Some(stray) => Err(Error::refused(
            format!("{} is still running", stray.program.display()),
            format!("kill -9 {}", stray.pid),
        )),
    }
}

impl Fleet {
    /// Agents first, so that they do not restart what is stopped after them; then the
    /// apps; the coordinator last. Leaves nothing behind, and says what it had to insist on.
    pub async fn tear_down(mut self, screen: &Screen) -> Result<(), Error> {
        self.held = None;
        let mut stops = JoinSet::new();
        for agent in self.agents.drain(..) {
            stops.spawn(async move { agent.stop().await });
        }
        while stops.join_next().await.is_some() {}
        let root = self.layout.root().to_owned();
        stray::stop(&root, stray::Stray::is_agent).await;
        let mut stops = JoinSet::new();
        for node in self.nodes.clone() {
            let binaries = self.binaries.clone();
            stops.spawn(async move { node.stop_apps(&binaries).await });
        }
        while let Some(result) = stops.join_next().await {
            if let Err(error) = finish(Some(result)) {
                screen.say(&crate::render::error::error(&error));
            }
        }
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
        stray::stop(&root, stray::Stray::is_coordinator).await;
        for stray in stray::stop(&root, |_| true).await {
            screen.say(&format!(
                "stopped {} ({}), which outlived its agent",
                stray.program.display(),
                stray.pid
            ));
        }
        nothing_is_left(&root)?;
        let _absent = std::fs::remove_file(self.layout.env());
        if let Some(temporary) = self.temporary.take() {
            temporary
                .close()
                .map_err(Error::file(format!("cannot remove {}", root.display())))?;
        }
        Ok(())
    }
}
