//! What happened, in sentences; nobody listens while nothing is wrong.

use std::collections::VecDeque;

/// So much of the end explains most of what goes wrong.
const TOLD: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    Nothing,
    TheEnd,
    Everything,
}

#[derive(Debug)]
pub struct Story {
    telling: Telling,
    sentences: VecDeque<String>,
}

impl Story {
    pub fn new(telling: Telling) -> Self {
        Self {
            telling,
            sentences: VecDeque::new(),
        }
    }

    pub fn listens(&self) -> bool {
        self.telling != Telling::Nothing
    }

    pub fn add(&mut self, at_ms: u64, sentence: &str) {
        if self.telling == Telling::TheEnd && self.sentences.len() == TOLD {
            self.sentences.pop_front();
        }
        let told = format!("{:>9.3} {sentence}", at_ms as f64 / 1000.0);
        self.sentences.push_back(told);
    }

    pub fn end(self) -> Vec<String> {
        self.sentences.into()
    }
}
