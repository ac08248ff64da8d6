//! Nodes taken out of service, and put back into it.

use fleet_proto::ids::NodeId;
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::node::Cordon;
use crate::rollout::state::State;

impl State {
    pub(super) fn drain(
        &mut self,
        node: &NodeId,
        sequence: u64,
        by: &str,
        reason: Option<&String>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let known = self.node(node)?;
        known.service.drained = true;
        known.service.sequence = sequence;
        known.cordon = Some(Cordon {
            by: by.to_owned(),
            reason: reason.cloned(),
            since: at,
        });
        self.note_wishes(node);
        Ok(())
    }

    pub(super) fn undrain(&mut self, node: &NodeId, sequence: u64) -> Result<(), IllegalEvent> {
        let known = self.node(node)?;
        known.service.drained = false;
        known.service.sequence = sequence;
        known.cordon = None;
        self.note_wishes(node);
        Ok(())
    }

    /// By the word of a coordinator whose state was lost, where nobody here said so.
    pub(super) fn note_drained(
        &mut self,
        node: &NodeId,
        sequence: u64,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let known = self.node(node)?;
        known.service.drained = true;
        known.service.sequence = sequence;
        known.service.done = sequence;
        known.cordon.get_or_insert_with(|| Cordon {
            by: "fleet".to_owned(),
            reason: Some("the node came back drained".to_owned()),
            since: at,
        });
        self.note_wishes(node);
        Ok(())
    }

    /// A node that has forgotten what it was told says so too, and is told again.
    pub(super) fn note_serves(&mut self, node: &NodeId, sequence: u64) -> Result<(), IllegalEvent> {
        let service = &mut self.node(node)?.service;
        service.done = sequence;
        if sequence > service.sequence {
            service.sequence = sequence;
            service.drained = false;
        }
        self.note_wishes(node);
        Ok(())
    }
}
