//! One record as the engine keeps it: compressed when that pays, checked always, and
//! cut into parts.
//!
//! ```text
//! key    position (8 bytes, big end first) · part (2 bytes, big end first)
//! value  part 0 begins with: flags (1) · parts (2) · raw bytes (4) · checksum (16)
//! ```
//!
//! Parts are small because the engine spills pages larger than 128 KiB into files of
//! their own that it never syncs, and one of its pages holds up to 17 values.

use std::collections::BTreeMap;

/// 17 values of this size make a page of less than 128 KiB.
const PART_BYTES: usize = 4 << 10;
const HEADER_BYTES: usize = 1 + 2 + 4 + 16;
/// Below this, compression costs more than it saves.
const COMPRESS_ABOVE: usize = 1 << 10;
/// Level 1 is an order faster than the disk.
const COMPRESSION_LEVEL: i32 = 1;
/// A turn's event is small; the largest carries a manifest (512 KiB).
pub(super) const RECORD_BYTES_MAX: usize = 16 << 20;

const COMPRESSED: u8 = 1;
const LAST_OF_BATCH: u8 = 2;

pub(super) const KEY_BYTES: usize = 10;

pub(super) fn key(position: u64, part: u16) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&position.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// None for a key that is not a record's.
pub(super) fn read_key(bytes: &[u8]) -> Option<(u64, u16)> {
    let (position, part) = bytes.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*position),
        u16::from_be_bytes(part.try_into().ok()?),
    ))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// A batch counts as a whole or not at all.
    pub(super) last_of_batch: bool,
}

fn checksum(position: u64, head: &[u8], stored: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&position.to_be_bytes());
    hasher.update(head);
    hasher.update(stored);
    let mut sum = [0; 16];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    sum
}

/// The record's parts, first to last. The caller has checked its size.
pub(super) fn encode(position: u64, raw: &[u8], last_of_batch: bool) -> Vec<Vec<u8>> {
    let compressed = (raw.len() > COMPRESS_ABOVE)
        .then(|| zstd::bulk::compress(raw, COMPRESSION_LEVEL).ok())
        .flatten()
        .filter(|compressed| compressed.len() < raw.len());
    let mut flags = if last_of_batch { LAST_OF_BATCH } else { 0 };
    if compressed.is_some() {
        flags |= COMPRESSED;
    }
    let stored = compressed.as_deref().unwrap_or(raw);
    let parts = (HEADER_BYTES + stored.len()).div_ceil(PART_BYTES);
    let mut whole = Vec::with_capacity(HEADER_BYTES + stored.len());
    whole.push(flags);
    whole.extend(u16::try_from(parts).unwrap_or(u16::MAX).to_be_bytes());
    whole.extend(u32::try_from(raw.len()).unwrap_or(u32::MAX).to_be_bytes());
    let sum = checksum(position, &whole, stored);
    whole.extend(sum);
    whole.extend(stored);
    whole.chunks(PART_BYTES).map(<[u8]>::to_vec).collect()
}

/// The record from its parts, or what is wrong with it.
pub(super) fn decode(position: u64, parts: &BTreeMap<u16, Vec<u8>>) -> Result<Decoded, String> {
    let first = parts.get(&0).ok_or("its first part is missing")?;
    let (head, _) = first
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or("its first part is too short")?;
    let count = u16::from_be_bytes([head[1], head[2]]);
    let raw_bytes = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let complete = parts.len() == usize::from(count) && parts.keys().copied().eq(0..count);
    if !complete {
        return Err(format!("{} of {count} parts are there", parts.len()));
    }
    let whole: Vec<u8> = parts.values().flatten().copied().collect();
    let stored = &whole[HEADER_BYTES..];
    if checksum(position, &head[..7], stored) != head[7..] {
        return Err("its checksum is wrong".to_owned());
    }
    let bytes = if head[0] & COMPRESSED == 0 {
        stored.to_vec()
    } else {
        zstd::bulk::decompress(stored, raw_bytes.min(RECORD_BYTES_MAX))
            .map_err(|error| format!("it cannot be decompressed: {error}"))?
    };
    Ok(Decoded {
        bytes,
        last_of_batch: head[0] & LAST_OF_BATCH != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts_of(parts: Vec<Vec<u8>>) -> BTreeMap<u16, Vec<u8>> {
        (0..).zip(parts).collect()
    }

    proptest! {
        #[test]
        fn records_read_back_and_a_flipped_bit_is_noticed(
            position in 1_u64..1 << 40,
            raw in prop::collection::vec(any::<u8>(), 0..20_000),
            last in any::<bool>(),
            flip in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let parts = encode(position, &raw, last);
            prop_assert!(parts.iter().all(|part| part.len() <= PART_BYTES));
            let decoded = decode(position, &parts_of(parts.clone()));
            prop_assert_eq!(decoded, Ok(Decoded { bytes: raw, last_of_batch: last }));

            let mut flipped = parts.clone();
            let part = flip.index(flipped.len());
            let at = flip.index(flipped[part].len());
            flipped[part][at] ^= 1 << bit;
            prop_assert!(decode(position, &parts_of(flipped)).is_err());
            // The same bytes at another place are not the same record.
            prop_assert!(decode(position + 1, &parts_of(parts)).is_err());
        }

        #[test]
        fn a_missing_part_is_noticed(raw in prop::collection::vec(any::<u8>(), 5000..40_000), lost in any::<prop::sample::Index>()) {
            let mut parts = parts_of(encode(7, &raw, true));
            let lost = u16::try_from(lost.index(parts.len())).unwrap_or(0);
            parts.remove(&lost);
            prop_assert!(decode(7, &parts).is_err());
        }
    }
}
