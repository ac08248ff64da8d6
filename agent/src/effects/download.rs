//! Blobs by digest, all in one stream, going on where an interrupted one stood.

mod receiving;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Bytes;
use fleet_proto::session::FailureClass;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::{BlobPiece, BlobWanted, BlobsRequest, DIGESTS_PER_MESSAGE};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::room::Room;
use super::{Failed, blocking, chain, disk_failure, failure};
use crate::durable::{self, FileError};
use crate::facts::on_disk;
use crate::link::Reach;
use crate::link::backoff::Backoff;
use receiving::{Receiving, Taken};

/// Without any progress for this long, a step is given up; the coordinator decides
/// what then. Long enough for a coordinator that is being updated.
const UNREACHABLE_MAX: Duration = Duration::from_secs(300);
/// A stream that stands still is cut and begun anew.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Pieces that have come and are not written yet: a few mebibytes at most.
const PIECES_AHEAD: usize = 16;
/// How often wrong bytes are asked for again: they may have been hurt on the way.
const WRONG_MAX: u32 = 3;

/// A blob that is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    pub digest: Digest,
    pub size: Size,
}

impl Want {
    /// The room that it takes; of a tree's encoding it is not known before it comes.
    fn on_disk(&self) -> u64 {
        match self.size {
            Size::Exactly(bytes) => on_disk(bytes),
            Size::AtMost(_) => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// A file's, out of a tree whose digest is signed.
    Exactly(u64),
    /// A tree's own encoding, of which only a bound is known.
    AtMost(u64),
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(bytes) => write!(f, "{bytes}"),
            Self::AtMost(bytes) => write!(f, "at most {bytes}"),
        }
    }
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

pub(super) fn may_pass(status: &Status) -> bool {
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

/// The directory of one app's downloads, how fast they may go, and how much they may take.
#[derive(Clone)]
pub struct Download {
    pub reach: Reach,
    pub incoming: PathBuf,
    pub bandwidth: Option<Bytes>,
    pub room: Room,
}

impl Download {
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.incoming.join(digest.to_string())
    }

    fn partial(&self, digest: Digest) -> PathBuf {
        durable::beside(&self.path(digest), "part")
    }

    /// All of them are in `incoming` when this returns well, and have their digests.
    /// `afterwards` is the room that will be needed beyond theirs.
    pub async fn fetch(&self, wants: &BTreeSet<Want>, afterwards: u64) -> Result<(), Failed> {
        let mut patience = Patience::default();
        let mut wrong: BTreeMap<Digest, u32> = BTreeMap::new();
        let mut before = self.standing(wants).await?;
        while !before.missing.is_empty() {
            let ended = self.stream(&before.missing, &mut wrong, afterwards).await;
            let after = self.standing(wants).await?;
            if after.bytes > before.bytes || after.missing.len() < before.missing.len() {
                patience.progress();
            }
            before = after;
            match ended {
                Ok(()) => {}
                Err(Cut::Failed(failure)) => return Err(failure),
                Err(Cut::Status(status)) => patience.wait("its files", &status).await?,
            }
        }
        Ok(())
    }

    async fn standing(&self, wants: &BTreeSet<Want>) -> Result<Standing, Failed> {
        let (download, wants) = (self.clone(), wants.clone());
        blocking(move || {
            durable::create_own_directory(&download.incoming)?;
            let missing: Vec<Want> = wants
                .into_iter()
                .filter(|want| !durable::is_file_itself(&download.path(want.digest)))
                .collect();
            for want in &missing {
                make_way(&download.path(want.digest))?;
                make_way(&download.partial(want.digest))?;
            }
            let bytes = missing
                .iter()
                .map(|want| length(&download.partial(want.digest)))
                .sum();
            Ok(Standing { missing, bytes })
        })
        .await
    }

    /// What an earlier release left here is of no use any more. Gives how many bytes are
    /// left.
    pub fn forget_all_but(&self, wanted: &BTreeSet<Digest>) -> Result<u64, FileError> {
        let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
        let mut left = 0;
        for entry in std::fs::read_dir(&self.incoming).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if wanted.contains(name.trim_end_matches(".part")) {
                left += length(&entry.path());
            } else {
                durable::remove(&entry.path())?;
            }
        }
        Ok(left)
    }

    async fn stream(
        &self,
        missing: &[Want],
        wrong: &mut BTreeMap<Digest, u32>,
        afterwards: u64,
    ) -> Result<(), Cut> {
        for (at, batch) in missing.chunks(DIGESTS_PER_MESSAGE).enumerate() {
            let (download, batch) = (self.clone(), batch.to_vec());
            let later = missing.iter().skip((at + 1) * DIGESTS_PER_MESSAGE);
            let afterwards = later.map(Want::on_disk).fold(afterwards, u64::saturating_add);
            let (blobs, receiving) =
                blocking(move || Ok(Receiving::begin(download, batch, afterwards))).await?;
            receiving.must_have_room()?;

            let (to_disk, from_wire) = mpsc::channel(PIECES_AHEAD);
            let writing = tokio::task::spawn_blocking(move || receiving.write_down(from_wire));
            let ended = self.receive(blobs, to_disk).await;
            // What came is on the disk, however the stream ended.
            let (receiving, taken) = writing
                .await
                .map_err(|error| failure(FailureClass::Infrastructure, chain(&error)))?;
            if let Taken::Wrong { digest, found } = taken? {
                return Err(others_came(digest, found, count(wrong, digest)));
            }
            ended?;
            // A stream that ends well and did not bring everything has no business to.
            if let Some(digest) = receiving.first_not_had() {
                let tries = count(wrong, digest);
                if tries >= WRONG_MAX {
                    return Err(Cut::Failed(failure(
                        FailureClass::Infrastructure,
                        format!(
                            "the artifact store does not give the whole of {digest}, asked {tries} times"
                        ),
                    )));
                }
            }
        }
        Ok(())
    }

    /// Until the stream ends, or nobody writes down any more what comes.
    async fn receive(&self, blobs: Vec<BlobWanted>, to_disk: mpsc::Sender<BlobPiece>) -> Result<(), Status> {
        let mut client = AgentClient::new(self.reach.channel());
        let opened = tokio::time::timeout(SILENCE_MAX, client.fetch_blobs(BlobsRequest { blobs })).await;
        let mut pieces = opened.map_err(|_| silence())??.into_inner();
        let mut pace = Pace::new(self.bandwidth);
        while let Some(piece) = tokio::time::timeout(SILENCE_MAX, pieces.message())
            .await
            .map_err(|_| silence())??
        {
            let bytes = piece.data.len() as u64;
            if to_disk.send(piece).await.is_err() {
                break;
            }
            pace.after(bytes).await;
        }
        Ok(())
    }
}

/// How far a download is.
struct Standing {
    missing: Vec<Want>,
    /// Had already of what is missing.
    bytes: u64,
}

fn count(wrong: &mut BTreeMap<Digest, u32>, digest: Digest) -> u32 {
    let tries = wrong.entry(digest).or_default();
    *tries += 1;
    *tries
}

fn others_came(digest: Digest, found: Digest, tries: u32) -> Cut {
    if tries < WRONG_MAX {
        return Status::aborted(format!("the bytes that came for {digest} are others: {found}")).into();
    }
    let mut failure = failure(
        FailureClass::Infrastructure,
        format!(
            "the artifact is corrupt: {tries} times the bytes that came for {digest} had the digest {found}"
        ),
    );
    failure.figure = Some(found.to_string());
    failure.limit = Some(digest.to_string());
    Cut::Failed(failure)
}

fn silence() -> Status {
    Status::deadline_exceeded(format!("nothing came for {}s", SILENCE_MAX.as_secs()))
}

/// Nothing is written through a link, or into what is no file.
fn make_way(path: &Path) -> Result<(), FileError> {
    if durable::is_file_itself(path) {
        return Ok(());
    }
    durable::remove(path)
}

fn length(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |about| about.len())
}

/// Why a stream ended early.
enum Cut {
    Failed(Failed),
    Status(Status),
}

impl From<Status> for Cut {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<FileError> for Cut {
    fn from(error: FileError) -> Self {
        Self::Failed(disk_failure(&error))
    }
}

impl From<Failed> for Cut {
    fn from(failure: Failed) -> Self {
        Self::Failed(failure)
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
