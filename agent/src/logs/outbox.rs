//! Lines on their way out: one batch at a time, and no more of them than are taken.

use std::collections::BTreeMap;

use fleet_proto::ids::ComponentName;
use fleet_proto::session::question::{LogLine, PIECE_BYTES_MAX, Said};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::lines::Found;

pub type Batches = mpsc::Sender<Vec<LogLine>>;

/// What a line costs beside its text; so the number of lines in a batch is bounded too.
const LINE_COSTS: usize = 32;

/// Nobody takes anything any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

pub struct Outbox {
    to: Batches,
    batch: Vec<LogLine>,
    bytes: usize,
    /// Lines that were passed over since the last batch that went out.
    skipped: BTreeMap<ComponentName, u64>,
}

impl Outbox {
    pub fn new(to: Batches) -> Self {
        Self {
            to,
            batch: Vec::new(),
            bytes: 0,
            skipped: BTreeMap::new(),
        }
    }

    /// Waits until there is room.
    pub fn put_patiently(&mut self, component: &ComponentName, line: Found) -> Result<(), Gone> {
        if !self.has_room_for(&line) {
            self.finish()?;
        }
        self.add(component, line);
        Ok(())
    }

    /// Where there is no room, lines are counted from here on and not kept.
    pub fn put_or_skip(&mut self, component: &ComponentName, line: Found) -> Result<(), Gone> {
        if !self.has_room_for(&line) {
            self.offer()?;
        }
        if self.has_room_for(&line) {
            self.add(component, line);
        } else {
            *self.skipped.entry(component.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Sends what there is, however long that takes.
    pub fn finish(&mut self) -> Result<(), Gone> {
        match self.whole_batch() {
            Some(batch) => self.to.blocking_send(batch).map_err(|_| Gone),
            None => Ok(()),
        }
    }

    /// Sends what there is, if it is taken at once.
    pub fn offer(&mut self) -> Result<(), Gone> {
        match self.to.clone().try_reserve_owned() {
            Err(TrySendError::Closed(_)) => return Err(Gone),
            Err(TrySendError::Full(_)) => {}
            Ok(room) => {
                if let Some(batch) = self.whole_batch() {
                    room.send(batch);
                }
            }
        }
        Ok(())
    }

    /// What was passed over came after what is in the batch.
    fn whole_batch(&mut self) -> Option<Vec<LogLine>> {
        let mut batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let skipped = std::mem::take(&mut self.skipped).into_iter();
        batch.extend(skipped.map(|(component, count)| LogLine {
            component,
            at: None,
            said: Said::Skipped(count),
        }));
        (!batch.is_empty()).then_some(batch)
    }

    /// Once a line was passed over, those after it are too, until that has been said.
    fn has_room_for(&self, line: &Found) -> bool {
        let bytes = self.bytes + line.text.len() + LINE_COSTS;
        self.skipped.is_empty() && (self.batch.is_empty() || bytes <= PIECE_BYTES_MAX)
    }

    fn add(&mut self, component: &ComponentName, line: Found) {
        self.bytes += line.text.len() + LINE_COSTS;
        self.batch.push(LogLine {
            component: component.clone(),
            at: line.at,
            said: Said::Line(line.text),
        });
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn line(number: usize) -> Found {
        let text = format!("{number:05} {}", "x".repeat(1000));
        Found { at: None, text }
    }

    fn numbers(batch: &[LogLine]) -> Vec<Result<usize, u64>> {
        let number = |line: &LogLine| match &line.said {
            Said::Line(text) => Ok(text[..5].parse().unwrap()),
            Said::Skipped(count) => Err(*count),
        };
        batch.iter().map(number).collect()
    }

    #[test]
    fn what_nobody_takes_in_time_is_counted_and_not_kept() {
        let (to, mut taken) = mpsc::channel(1);
        let mut outbox = Outbox::new(to);
        let web: ComponentName = "web".parse().unwrap();
        let mut most = 0;
        for number in 0..10_000 {
            outbox.put_or_skip(&web, line(number)).unwrap();
            most = most.max(outbox.bytes);
        }
        assert!(most <= PIECE_BYTES_MAX, "{most}");
        // Now somebody takes it: what was there first, then how much is missing, then what
        // comes from now on.
        let mut seen = numbers(&taken.try_recv().unwrap());
        outbox.offer().unwrap();
        seen.extend(numbers(&taken.try_recv().unwrap()));
        outbox.put_or_skip(&web, line(10_000)).unwrap();
        outbox.offer().unwrap();
        seen.extend(numbers(&taken.try_recv().unwrap()));
        let skipped = seen.iter().position(Result::is_err).unwrap();
        let before: Vec<_> = (0..skipped).map(Ok).collect();
        assert_eq!(seen[..skipped], before);
        assert_eq!(seen[skipped..], [Err(10_000 - skipped as u64), Ok(10_000)]);
        drop(taken);
        assert_eq!(outbox.offer(), Err(Gone));
    }

    #[test]
    fn what_is_past_waits_and_is_all_told() {
        let (to, mut taken) = mpsc::channel(1);
        let web: ComponentName = "web".parse().unwrap();
        let telling = std::thread::spawn(move || {
            let mut outbox = Outbox::new(to);
            for number in 0..1000 {
                outbox.put_patiently(&web, line(number))?;
            }
            outbox.finish()
        });
        let mut seen = Vec::new();
        while let Some(batch) = taken.blocking_recv() {
            let bytes: usize = batch.iter().map(LogLine::bytes).sum();
            assert!(bytes <= PIECE_BYTES_MAX, "{bytes}");
            seen.extend(numbers(&batch));
        }
        assert_eq!(telling.join().unwrap(), Ok(()));
        assert_eq!(seen, (0..1000).map(Ok).collect::<Vec<_>>());
    }
}
