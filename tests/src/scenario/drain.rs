//! Nodes taken out of service.

use fleet_coordinator::rollout::input::Request;
use fleet_coordinator::rollout::requests::drain::Limit;
use fleet_proto::ids::NodeId;

use super::Stage;
use super::words::Words;

impl Stage {
    pub(super) fn drain(&mut self, id: &NodeId, words: &mut Words) -> anyhow::Result<String> {
        let node = id.clone();
        let reason = Some(words.next("why")?);
        let limit = match words.takes("force") {
            true => Limit::Override,
            false => Limit::Keep,
        };
        self.ask(Request::DrainNode { node, reason, limit })
    }
}
