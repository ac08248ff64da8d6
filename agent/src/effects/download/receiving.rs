//! What comes in one stream, on its way to the disk.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fleet_proto::digest::Digest;
use fleet_proto::session::FailureClass;
use fleet_proto::wire::{BlobPiece, BlobWanted};
use tokio::sync::mpsc;
use tonic::Status;

use super::{Cut, Download, Size, Want, length};
use crate::durable::{self, failed};
use crate::effects::{Failed, failure};

/// How much comes between two looks at the room on the disk: far less than any reserve
/// worth the name, and rarely enough to cost nothing.
const LOOK_EVERY_BYTES: u64 = 4 << 20;

/// One stream on its way to the disk.
pub(super) struct Receiving {
    download: Download,
    wants: BTreeMap<Digest, Size>,
    open: Option<(Digest, File)>,
    /// The room that is still needed, for what is to come and for what comes after it.
    still: u64,
    unlooked: u64,
}

pub(super) enum Taken {
    Well,
    /// Whole, and not what was asked for.
    Wrong {
        digest: Digest,
        found: Digest,
    },
}

impl Receiving {
    pub(super) fn begin(download: Download, batch: Vec<Want>, afterwards: u64) -> (Vec<BlobWanted>, Self) {
        let mut still = afterwards;
        let mut blobs = Vec::with_capacity(batch.len());
        for want in &batch {
            let offset = length(&download.partial(want.digest));
            still = still.saturating_add(want.on_disk().saturating_sub(offset));
            blobs.push(BlobWanted {
                digest: want.digest.as_bytes().to_vec(),
                offset,
            });
        }
        let receiving = Self {
            download,
            wants: batch.into_iter().map(|want| (want.digest, want.size)).collect(),
            open: None,
            still,
            unlooked: 0,
        };
        (blobs, receiving)
    }

    /// What has come so far stays: another attempt goes on from there.
    pub(super) fn must_have_room(&self) -> Result<(), Failed> {
        self.download.room.must_hold(self.still)
    }

    /// Pieces as they come: of many small files each is one, and a trip to another
    /// thread for each would take longer than the writing.
    pub(super) fn write_down(mut self, mut pieces: mpsc::Receiver<BlobPiece>) -> (Self, Result<Taken, Cut>) {
        while let Some(piece) = pieces.blocking_recv() {
            match self.take(&piece) {
                Ok(Taken::Well) => {}
                other => return (self, other),
            }
        }
        (self, Ok(Taken::Well))
    }

    pub(super) fn first_not_had(&self) -> Option<Digest> {
        let mut digests = self.wants.keys().copied();
        digests.find(|digest| !durable::is_file_itself(&self.download.path(*digest)))
    }

    fn take(&mut self, piece: &BlobPiece) -> Result<Taken, Cut> {
        let odd = |what: &str| {
            Cut::Failed(failure(
                FailureClass::Infrastructure,
                format!("the artifact store sent {what}"),
            ))
        };
        let digest = Digest::from_slice(&piece.digest).map_err(|error| odd(&error.to_string()))?;
        let Some(size) = self.wants.get(&digest) else {
            return Err(odd(&format!("{digest}, which nobody asked for")));
        };
        let bytes = piece.data.len() as u64;
        let end = piece.offset.checked_add(bytes).filter(|end| *end <= piece.bytes);
        let Some(end) = end.filter(|_| size.allows(piece.bytes)) else {
            return Err(odd(&format!(
                "{} bytes for {digest}, expected {size}",
                piece.bytes.max(piece.offset.saturating_add(bytes))
            )));
        };
        // A stream of them would never end, and never be silent either.
        if piece.data.is_empty() && end < piece.bytes {
            return Err(odd(&format!("nothing of {digest} where more was to come")));
        }
        let partial = self.download.partial(digest);
        if self.open.as_ref().is_none_or(|(open, _)| *open != digest) {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
                .open(&partial)
                .map_err(failed("open", &partial))?;
            self.open = Some((digest, file));
        }
        let present = length(&partial);
        if present != piece.offset {
            // A fetch that was given up may have written its last piece meanwhile.
            return Err(Status::aborted(format!(
                "{digest} came from {}, expected from {present}",
                piece.offset
            ))
            .into());
        }
        self.unlooked += bytes;
        if self.unlooked >= LOOK_EVERY_BYTES {
            self.unlooked = 0;
            self.must_have_room()?;
        }
        if let Some((_, file)) = &mut self.open {
            file.write_all(&piece.data).map_err(failed("write", &partial))?;
        }
        self.still = self.still.saturating_sub(bytes);
        if end < piece.bytes {
            return Ok(Taken::Well);
        }
        self.open = None;
        self.complete(digest, &partial)
    }

    /// Hashed from the disk: what is there is what counts, however often it was begun.
    fn complete(&mut self, digest: Digest, partial: &Path) -> Result<Taken, Cut> {
        let file = File::open(partial).map_err(failed("open", partial))?;
        let (found, _) = Digest::of_reader(file).map_err(failed("read", partial))?;
        if found != digest {
            durable::remove(partial)?;
            return Ok(Taken::Wrong { digest, found });
        }
        std::fs::rename(partial, self.download.path(digest)).map_err(failed("rename", partial))?;
        // Again and again it would never end.
        self.wants.remove(&digest);
        Ok(Taken::Well)
    }
}
