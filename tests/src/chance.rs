//! Chance that can be had again: the seed is printed, and taken from `FLEET_SEED`.

pub struct Chance(u64);

impl Chance {
    #[expect(clippy::print_stderr, reason = "a failed test has to name its seed")]
    pub fn from_environment() -> Self {
        let given = std::env::var("FLEET_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) << 16 ^ 0x5eed);
        eprintln!("FLEET_SEED={seed}");
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// At least `low`, less than `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    /// One of them, which is then gone.
    pub fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = self.between(0, from.len() as u64);
        Some(from.swap_remove(usize::try_from(at).unwrap_or(0)))
    }
}
