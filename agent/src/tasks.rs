//! What goes on beside the daemon's loop, and must go on as long as it does.
//!
//! A task that ends early, by a panic or because it thought that it was done, ends the
//! daemon. It is not begun again in place: what it had in hand at that moment nobody
//! knows, whereas an agent that starts reads all that it needs off the ledger. The
//! service manager starts it within seconds, and the apps live on with their keepers.

use std::future::Future;

use tokio::task::{JoinError, JoinSet};
use tokio_util::task::AbortOnDropHandle;

use crate::effects::chain;

/// A task that should have outlived its owner, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {task} {how}; the agent cannot go on without it")]
pub struct Ended {
    pub task: &'static str,
    pub how: String,
}

/// Does the work, and says how it ended. Dropping this ends the work.
pub async fn watch(task: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Ended {
    let how = match AbortOnDropHandle::new(tokio::spawn(work)).await {
        Ok(()) => "ended by itself".to_owned(),
        Err(error) => how(&error),
    };
    Ended { task, how }
}

fn how(error: &JoinError) -> String {
    if error.is_panic() {
        return format!("panicked: {}", chain(error));
    }
    "was cancelled".to_owned()
}

/// Ends its tasks when dropped.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<Ended>,
}

impl Tasks {
    pub fn spawn(&mut self, task: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(watch(task, work));
    }

    /// Waits until one ends, which none should.
    pub async fn ended(&mut self) -> Ended {
        match self.set.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Ended {
                task: "watch over a task",
                how: how(&error),
            },
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "to see that it is noticed")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_noticed() {
        let mut tasks = Tasks::default();
        tasks.spawn("clock", std::future::pending());
        tasks.spawn("link", async { panic!("out of words") });
        let ended = tasks.ended().await;
        assert_eq!(ended.task, "link");
        assert!(ended.how.contains("out of words"), "{}", ended.how);

        tasks.spawn("socket", async {});
        let ended = tasks.ended().await.to_string();
        assert_eq!(
            ended,
            "the socket ended by itself; the agent cannot go on without it"
        );
    }

    #[tokio::test]
    async fn tasks_end_with_their_owner() {
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let mut tasks = Tasks::default();
        tasks.spawn("link", async move {
            let _held = alive;
            std::future::pending::<()>().await;
        });
        drop(tasks);
        assert_eq!(gone.recv().await, None);
    }
}
