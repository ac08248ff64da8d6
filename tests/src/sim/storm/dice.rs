//! Chance that comes from the seed and from nothing else.

/// SplitMix64: the same numbers on every machine and in every version.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin with neighbouring numbers.
        Self(mix(seed ^ 0x5eed_f1ee))
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// At least `low`, less than `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % high.saturating_sub(low).max(1)
    }

    /// An index into something that has `length` entries.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.between(0, length as u64)).unwrap_or(0)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.between(0, 100) < percent
    }

    pub fn per_thousand(&mut self, share: u64) -> bool {
        self.between(0, 1000) < share
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            return None;
        }
        from.get(self.index(from.len()))
    }

    /// One of a table's rows, each as often as its weight says.
    pub fn weighted<'a, T>(&mut self, from: &'a [T], weight: impl Fn(&T) -> u64) -> Option<&'a T> {
        let mut left = self.between(0, from.iter().map(&weight).sum());
        from.iter().find(|row| {
            let weight = weight(row);
            let hit = left < weight;
            left = left.saturating_sub(weight);
            hit
        })
    }

    /// Mostly short, at times long: how delays are.
    pub fn delay(&mut self, usual_ms: u64) -> u64 {
        match self.between(0, 20) {
            0 => self.between(0, usual_ms * 10),
            1..5 => self.between(0, usual_ms * 2),
            _ => self.between(0, usual_ms),
        }
    }
}

pub fn mix(mut mixed: u64) -> u64 {
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
