//! A line, word by word; quoted words hold spaces.

use std::collections::VecDeque;
use std::fmt::Display;
use std::str::FromStr;

use anyhow::Context;

pub(super) struct Words(VecDeque<String>);

impl Words {
    pub(super) fn of(line: &str) -> anyhow::Result<Self> {
        let mut words = VecDeque::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (word, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').context("a quote is not closed")?,
                None => rest.split_once(' ').unwrap_or((rest, "")),
            };
            words.push_back(word.to_owned());
            rest = after.trim_start();
        }
        Ok(Self(words))
    }

    /// The next word, if it is this one.
    pub(super) fn takes(&mut self, word: &str) -> bool {
        let is_next = self.0.front().is_some_and(|next| next == word);
        if is_next {
            self.0.pop_front();
        }
        is_next
    }

    pub(super) fn must_be(&mut self, word: &str) -> anyhow::Result<()> {
        let next = self.0.front().cloned().unwrap_or_default();
        anyhow::ensure!(self.takes(word), "expected `{word}`, found `{next}`");
        Ok(())
    }

    pub(super) fn next(&mut self, what: &str) -> anyhow::Result<String> {
        self.0.pop_front().with_context(|| format!("expected {what}"))
    }

    pub(super) fn parse<T>(&mut self, what: &str) -> anyhow::Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let word = self.next(what)?;
        word.parse()
            .map_err(|error| anyhow::anyhow!("`{word}` is not {what}: {error}"))
    }

    /// The word behind this one, if this one is next.
    pub(super) fn option<T>(&mut self, name: &str) -> anyhow::Result<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        if self.takes(name) {
            self.parse(name).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn must_end(&self) -> anyhow::Result<()> {
        match self.0.front() {
            None => Ok(()),
            Some(word) => anyhow::bail!("`{word}` is one word too many"),
        }
    }
}
