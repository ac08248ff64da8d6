//! Watching processes that somebody may kill, to see what happens.

use tokio::task::JoinSet;

use super::Fleet;
use crate::dev::node::Node;

impl Fleet {
    /// Returns when a process ended that was there, with what to tell. Somebody may
    /// have killed it to see what happens, so it is left at that.
    pub async fn next_end(&mut self) -> String {
        let mut waits = JoinSet::new();
        for process in self.coordinator.iter().chain(&self.agents) {
            let (name, mut ended) = (process.name.clone(), process.watch());
            waits.spawn(async move {
                let status = ended
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|status| *status);
                (name, status)
            });
        }
        let Some(Ok((name, status))) = waits.join_next().await else {
            return std::future::pending().await;
        };
        let how = status.map_or_else(|| "somehow".to_owned(), |status| status.to_string());
        if self.coordinator.take_if(|process| process.name == name).is_some() {
            let config = self.layout.coordinator_config();
            return format!(
                "the coordinator ended: {how}\nhint: `fleet-coordinator run --config '{}'` starts it again",
                config.display()
            );
        }
        self.agents.retain(|agent| agent.name != name);
        let again = self
            .nodes
            .iter()
            .find(|node| node.name == name)
            .map(Node::start_again);
        let again = again.unwrap_or_default();
        format!("the agent of {name} ended: {how}\nhint: `{again}` starts it again")
    }
}
