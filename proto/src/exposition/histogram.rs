//! How often something took how long, in so many classes of length.

/// Counts by upper bounds that are fixed from the start, so that series never come and go.
#[derive(Debug, Clone)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is beyond them.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// From a tenth of a millisecond, which is a write that a disk's cache took, to ten
    /// seconds, when something hangs.
    pub const MOMENTS: &'static [f64] = &[
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    ];
    /// From a tenth of a second, which is a switch, to an hour, which is a bake.
    pub const WHILES: &'static [f64] = &[
        0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    ];

    /// The bounds rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    pub fn observe(&mut self, seconds: f64) {
        let class = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[class] += 1;
        self.sum += seconds;
    }

    pub fn sum(&self) -> f64 {
        self.sum
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bound as it is written, and how many were not longer.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (String, u64)> {
        let bounds = self.bounds.iter().map(|bound| format!("{bound:?}"));
        let so_far = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.chain(["+Inf".to_owned()]).zip(so_far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_a_bound_is_not_longer_than_it() {
        let mut seen = Histogram::new(&[0.5, 1.0]);
        for seconds in [0.5, 0.75, 1.0, 1.5] {
            seen.observe(seconds);
        }
        let counts: Vec<u64> = seen.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 3, 4]);
        assert_eq!((seen.count(), seen.sum()), (4, 3.75));
    }
}
