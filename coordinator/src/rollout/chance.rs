//! Chance that is no chance: the same on every machine and at every replay.

/// FNV-1a with a finishing mix: small, and the same in every version, which the standard
/// library's hasher does not promise.
#[derive(Debug, Clone, Copy)]
pub struct Chance(u64);

impl Chance {
    /// The seed is taken in once, for however many names.
    pub fn seeded(seed: &str) -> Self {
        Self(take(0xcbf2_9ce4_8422_2325, seed.bytes().chain([b'/'])))
    }

    pub fn of(self, name: &str) -> u64 {
        let mut hash = take(self.0, name.bytes());
        hash ^= hash >> 30;
        hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^= hash >> 27;
        hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

fn take(hash: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(hash, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
