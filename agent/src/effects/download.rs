//! Blobs by digest, all in one stream, going on where an interrupted one stood.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Bytes;
use fleet_proto::session::FailureClass;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::{BlobPiece, BlobWanted, BlobsRequest, DIGESTS_PER_MESSAGE};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{Failed, chain, disk_failure, failure};
use crate::durable::{self, FileError, failed};
use crate::link::Reach;
use crate::link::backoff::Backoff;

/// Without any progress for this long, a step is given up; the coordinator decides
/// what then. Long enough for a coordinator that is being updated.
const UNREACHABLE_MAX: Duration = Duration::from_secs(300);
/// A stream that stands still is cut and begun anew.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often wrong bytes are asked for again: they may have been hurt on the way.
const WRONG_MAX: u32 = 3;

/// A blob that is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    pub digest: Digest,
    pub size: Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// A file's, out of a tree whose digest is signed.
    Exactly(u64),
    /// A tree's own encoding, of which only a bound is known.
    AtMost(u64),
}

impl Size {
    fn allows(self, bytes: u64) -> bool {
        match self {
            Self::Exactly(exact) => bytes == exact,
            Self::AtMost(most) => bytes <= most,
        }
    }
}

/// Keeps track of how long nothing has been had from anybody.
pub struct Patience {
    backoff: Backoff,
    since: Instant,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            since: Instant::now(),
        }
    }
}

impl Patience {
    pub fn progress(&mut self) {
        self.backoff.reset();
        self.since = Instant::now();
    }

    /// Waits a little, or says that it has been long enough.
    pub async fn wait(&mut self, what: &str, status: &Status) -> Result<(), Failed> {
        if !may_pass(status) {
            return Err(failure(
                FailureClass::Infrastructure,
                format!("cannot fetch {what}: {}", status.message()),
            ));
        }
        if self.since.elapsed() >= UNREACHABLE_MAX {
            return Err(failure(
                FailureClass::Infrastructure,
                format!(
                    "cannot fetch {what}: nothing came for {}s: {}",
                    UNREACHABLE_MAX.as_secs(),
                    status.message()
                ),
            ));
        }
        tracing::info!(what, why = status.message(), "cannot fetch yet, trying again");
        tokio::time::sleep(self.backoff.pause()).await;
        Ok(())
    }
}

fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::Unknown
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unauthenticated
    )
}

/// The directory of one app's downloads, and how fast they may go.
pub struct Download<'a> {
    pub reach: &'a Reach,
    pub incoming: PathBuf,
    pub bandwidth: Option<Bytes>,
}

impl Download<'_> {
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.incoming.join(digest.to_string())
    }

    fn partial(&self, digest: Digest) -> PathBuf {
        durable::beside(&self.path(digest), "part")
    }

    /// All of them are in `incoming` when this returns well, and have their digests.
    pub async fn fetch(&self, wants: &BTreeSet<Want>) -> Result<(), Failed> {
        durable::create_directory(&self.incoming).map_err(|error| disk_failure(&error))?;
        let mut patience = Patience::default();
        let mut wrong: BTreeMap<Digest, u32> = BTreeMap::new();
        loop {
            let missing: Vec<Want> = wants
                .iter()
                .filter(|want| !self.path(want.digest).is_file())
                .copied()
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            let before = self.bytes_present(&missing);
            let ended = self.stream(&missing, &mut wrong).await;
            if self.bytes_present(&missing) > before
                || missing.iter().any(|want| self.path(want.digest).is_file())
            {
                patience.progress();
            }
            match ended {
                Ok(()) => {}
                Err(Cut::Failed(failure)) => return Err(failure),
                Err(Cut::Status(status)) => patience.wait("its files", &status).await?,
            }
        }
    }

    /// What an earlier release left here is of no use any more.
    pub fn forget_all_but(&self, wants: &BTreeSet<Want>) -> Result<(), FileError> {
        let wanted: BTreeSet<String> = wants.iter().map(|want| want.digest.to_string()).collect();
        for entry in std::fs::read_dir(&self.incoming).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !wanted.contains(name.trim_end_matches(".part")) {
                durable::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn bytes_present(&self, wants: &[Want]) -> u64 {
        wants.iter().map(|want| length(&self.partial(want.digest))).sum()
    }

    async fn stream(&self, missing: &[Want], wrong: &mut BTreeMap<Digest, u32>) -> Result<(), Cut> {
        for batch in missing.chunks(DIGESTS_PER_MESSAGE) {
            let blobs = batch
                .iter()
                .map(|want| BlobWanted {
                    digest: want.digest.as_bytes().to_vec(),
                    offset: length(&self.partial(want.digest)),
                })
                .collect();
            let mut client = AgentClient::new(self.reach.channel());
            let opened = tokio::time::timeout(SILENCE_MAX, client.fetch_blobs(BlobsRequest { blobs })).await;
            let mut pieces = opened.map_err(|_| silence())??.into_inner();
            let mut receiving = Receiving {
                download: self,
                wants: batch.iter().map(|want| (want.digest, want.size)).collect(),
                open: None,
                wrong,
            };
            let mut pace = Pace::new(self.bandwidth);
            while let Some(piece) = tokio::time::timeout(SILENCE_MAX, pieces.message())
                .await
                .map_err(|_| silence())??
            {
                let bytes = piece.data.len() as u64;
                receiving.take(piece).await?;
                pace.after(bytes).await;
            }
            // A stream that ends well and did not bring everything has no business to.
            if let Some(want) = batch.iter().find(|want| !self.path(want.digest).is_file()) {
                let tries = receiving.count_wrong(want.digest);
                if tries >= WRONG_MAX {
                    return Err(Cut::failed(failure(
                        FailureClass::Infrastructure,
                        format!(
                            "the artifact store does not give the whole of {}, asked {tries} times",
                            want.digest
                        ),
                    )));
                }
            }
        }
        Ok(())
    }
}

fn silence() -> Status {
    Status::deadline_exceeded(format!("nothing came for {}s", SILENCE_MAX.as_secs()))
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |about| about.len())
}

/// Why a stream ended early.
enum Cut {
    Failed(Failed),
    Status(Status),
}

impl Cut {
    fn failed(failure: Failed) -> Self {
        Self::Failed(failure)
    }
}

impl From<Status> for Cut {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<FileError> for Cut {
    fn from(error: FileError) -> Self {
        Self::failed(disk_failure(&error))
    }
}

/// One stream on its way to the disk.
struct Receiving<'a> {
    download: &'a Download<'a>,
    wants: BTreeMap<Digest, Size>,
    open: Option<(Digest, File)>,
    wrong: &'a mut BTreeMap<Digest, u32>,
}

impl Receiving<'_> {
    async fn take(&mut self, piece: BlobPiece) -> Result<(), Cut> {
        let odd = |what: &str| {
            Cut::failed(failure(
                FailureClass::Infrastructure,
                format!("the artifact store sent {what}"),
            ))
        };
        let digest = Digest::from_slice(&piece.digest).map_err(|error| odd(&error.to_string()))?;
        let Some(size) = self.wants.get(&digest) else {
            return Err(odd(&format!("{digest}, which nobody asked for")));
        };
        if !size.allows(piece.bytes) || piece.offset + piece.data.len() as u64 > piece.bytes {
            return Err(odd(&format!(
                "{} bytes for {digest}, expected {size:?}",
                piece.bytes
            )));
        }
        let partial = self.download.partial(digest);
        if self.open.as_ref().is_none_or(|(open, _)| *open != digest) {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&partial)
                .map_err(failed("open", &partial))?;
            self.open = Some((digest, file));
        }
        let present = length(&partial);
        if present != piece.offset {
            return Err(odd(&format!(
                "{digest} from {}, expected from {present}",
                piece.offset
            )));
        }
        if let Some((_, file)) = &mut self.open {
            file.write_all(&piece.data).map_err(failed("write", &partial))?;
        }
        if present + piece.data.len() as u64 == piece.bytes {
            self.open = None;
            self.complete(digest, partial).await?;
        }
        Ok(())
    }

    /// Hashed from the disk: what is there is what counts, however often it was begun.
    async fn complete(&mut self, digest: Digest, partial: PathBuf) -> Result<(), Cut> {
        let path = self.download.path(digest);
        let found = tokio::task::spawn_blocking(move || -> Result<Option<Digest>, FileError> {
            let file = File::open(&partial).map_err(failed("open", &partial))?;
            let (found, _) = Digest::of_reader(file).map_err(failed("read", &partial))?;
            if found == digest {
                std::fs::rename(&partial, &path).map_err(failed("rename", &partial))?;
                return Ok(None);
            }
            durable::remove(&partial)?;
            Ok(Some(found))
        })
        .await
        .map_err(|error| Cut::failed(failure(FailureClass::Infrastructure, chain(&error))))??;
        let Some(found) = found else {
            return Ok(());
        };
        let tries = self.count_wrong(digest);
        if tries < WRONG_MAX {
            return Err(
                Status::aborted(format!("the bytes that came for {digest} are others: {found}")).into(),
            );
        }
        let mut failure = failure(
            FailureClass::Infrastructure,
            format!(
                "the artifact is corrupt: {tries} times the bytes that came for {digest} had the digest {found}"
            ),
        );
        failure.figure = Some(found.to_string());
        failure.limit = Some(digest.to_string());
        Err(Cut::failed(failure))
    }

    fn count_wrong(&mut self, digest: Digest) -> u32 {
        let tries = self.wrong.entry(digest).or_default();
        *tries += 1;
        *tries
    }
}

/// Waits as long as it takes for the bytes so far to have been within the bandwidth.
struct Pace {
    bytes_a_second: Option<u64>,
    began: Instant,
    bytes: u64,
}

impl Pace {
    fn new(bandwidth: Option<Bytes>) -> Self {
        Self {
            bytes_a_second: bandwidth.map(|bytes| bytes.0.max(1)),
            began: Instant::now(),
            bytes: 0,
        }
    }

    async fn after(&mut self, bytes: u64) {
        let Some(rate) = self.bytes_a_second else {
            return;
        };
        self.bytes += bytes;
        let due = Duration::from_millis(self.bytes.saturating_mul(1000) / rate);
        tokio::time::sleep_until(self.began + due).await;
    }
}
