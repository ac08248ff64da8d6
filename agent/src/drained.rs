//! Whether this node's apps run at all: drained for the maintenance of the machine, until
//! it is undrained. The word is kept in the ledger and so outlives the agent and a reboot.

use fleet_proto::session::{Health, Service};

use crate::install::Answer;
use crate::ledger::Ledger;

impl Ledger {
    /// Takes the newest word. An older one, or one of a coordinator that is no longer in
    /// charge, changes nothing.
    pub fn take_service(&mut self, told: Service) -> Answer {
        let orders = self.apps.values().map(|record| record.fence_seen.term);
        let term_seen = orders.fold(self.service.term, u64::max);
        if told.term < term_seen {
            return Answer::Refused("it comes from a coordinator that is no longer in charge".to_owned());
        }
        if told.sequence < self.service.sequence {
            return Answer::Refused("a newer word has been taken".to_owned());
        }
        if told.sequence == self.service.sequence {
            // The same one again, from a coordinator that was restarted.
            self.service.term = told.term;
            return Answer::Repeated;
        }
        self.service = told;
        Answer::Accepted
    }
}

/// How an app is that does not run because nothing shall.
pub fn health(runs_something: bool) -> Health {
    if !runs_something {
        return Health::Empty;
    }
    Health::Unhealthy {
        why: "stopped: the node is drained".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::fence::Fence;

    fn told(term: u64, sequence: u64, drained: bool) -> Service {
        Service {
            term,
            sequence,
            drained,
        }
    }

    #[test]
    fn only_a_newer_word_from_a_coordinator_in_charge_counts() {
        let mut ledger = Ledger {
            service: told(3, 7, true),
            ..Ledger::default()
        };
        for older in [told(3, 6, false), told(2, 8, false)] {
            assert!(matches!(ledger.take_service(older), Answer::Refused(_)));
        }
        assert_eq!(ledger.take_service(told(4, 7, false)), Answer::Repeated);
        assert_eq!(ledger.service, told(4, 7, true));
        assert_eq!(ledger.take_service(told(4, 8, false)), Answer::Accepted);
        assert_eq!(ledger.service, told(4, 8, false));
    }

    #[test]
    fn a_term_seen_in_an_order_counts_too() {
        let mut ledger = Ledger::default();
        let record = ledger.apps.entry("shop".parse().unwrap()).or_default();
        record.fence_seen = Fence {
            term: 5,
            ..Fence::ZERO
        };
        assert!(matches!(
            ledger.take_service(told(4, 1, true)),
            Answer::Refused(_)
        ));
    }

    #[test]
    fn a_ledger_from_before_is_of_a_node_that_serves() {
        let text = serde_json::to_string(&Ledger::default()).unwrap();
        assert!(!text.contains("service"), "{text}");
        let ledger: Ledger = serde_json::from_str(&text).unwrap();
        assert_eq!(ledger.service, Service::default());
    }
}
