//! From everything running to nothing.

use tokio::task::JoinSet;

use super::{Fleet, finish};
use crate::dev::stray;
use crate::error::Error;
use crate::render::error::Mistake;
use crate::render::screen::Screen;

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
                screen.say(&Mistake::from(&error).text());
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
        let left = stray::find(&root);
        if let Some(stray) = left.first() {
            return Err(Error::refused(
                format!("{} is still running", stray.program.display()),
                format!("kill -9 {}", stray.pid),
            ));
        }
        let _absent = std::fs::remove_file(self.layout.env());
        if let Some(temporary) = self.temporary.take() {
            temporary
                .close()
                .map_err(Error::file(format!("cannot remove {}", root.display())))?;
        }
        Ok(())
    }
}
