//! The generated wire types. Only `session` and the edges of each program use them.

#![allow(clippy::all, clippy::pedantic, rust_2018_idioms)]

tonic::include_proto!("fleet.v1");

/// A control message is small; anything larger is a mistake or an attack.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bulk bytes travel in pieces of this size: large enough for speed, small enough to
/// be far from [`MESSAGE_BYTES_MAX`].
pub const PIECE_BYTES: usize = 256 << 10;
/// How many digests one [`BlobList`] message may hold (32 bytes each).
pub const DIGESTS_PER_MESSAGE: usize = 8192;
