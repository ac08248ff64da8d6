//! The ledger's file: JSON with a checksum over its exact bytes, and the generation
//! before it beside it.

use std::io;
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;

use super::Ledger;
use crate::boundary::{Boundary, boundary};
use crate::durable::{self, FileError, failed};

const OPENING: &str = "{\"checksum\":\"";
const MIDDLE: &str = "\",\"ledger\":";
const CLOSING: &str = "}\n";
const DIGEST_CHARS: usize = 64;
const MODE: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the ledger {} is damaged ({why}), and so is the one before it ({why_previous})\n{}", .path.display(), start_empty(.path)
    )]
    Damaged {
        path: PathBuf,
        why: String,
        why_previous: String,
    },
    #[error("cannot write the ledger down: {0}")]
    Encode(String),
}

/// What an empty node has forgotten is said, for a person decides whether that is right:
/// nothing but an order will touch what runs, and nothing but an order knows it.
fn start_empty(path: &Path) -> String {
    let damaged = (1_u32..)
        .map(|number| durable::beside(path, &format!("damaged.{number}")))
        .find(|aside| !aside.exists())
        .map_or_else(String::new, |aside| quoted(&aside));
    let files: Vec<String> = [path.to_owned(), durable::beside(path, "previous")]
        .iter()
        .filter(|file| file.exists())
        .map(|file| quoted(file))
        .collect();
    format!(
        "hint: `mkdir {damaged} && mv {} {damaged}/` lets this node begin with an empty ledger: what runs goes on and is taken over by the next order for it; which releases were good here, and the floor under them, are forgotten",
        files.join(" ")
    )
}

/// As one word for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:,@".contains(letter);
    if text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Why a file's bytes are not a ledger.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("it is missing")]
    Missing,
    #[error("it is torn")]
    Torn,
    #[error("its checksum does not match")]
    Checksum,
    #[error("it cannot be understood: {0}")]
    Malformed(String),
}

/// The file, and what it holds.
pub struct LedgerFile {
    path: PathBuf,
    ledger: Ledger,
    /// What was wrong with the newest generation, when an older one was taken.
    pub fell_back: Option<String>,
}

impl LedgerFile {
    /// Reads the newest generation that is whole. A node without any begins empty.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let previous = durable::beside(path, "previous");
        let opened = |ledger, fell_back| Self {
            path: path.to_owned(),
            ledger,
            fell_back,
        };
        match (read(path)?, read(&previous)?) {
            (Ok(ledger), _) => Ok(opened(ledger, None)),
            (Err(Damage::Missing), Err(Damage::Missing)) => Ok(opened(Ledger::default(), None)),
            (Err(damage), Ok(ledger)) => {
                if !matches!(damage, Damage::Missing) {
                    let kept = durable::beside(path, "torn");
                    std::fs::rename(path, &kept).map_err(failed("rename", path))?;
                }
                Ok(opened(ledger, Some(damage.to_string())))
            }
            (Err(why), Err(why_previous)) => Err(LedgerError::Damaged {
                path: path.to_owned(),
                why: why.to_string(),
                why_previous: why_previous.to_string(),
            }),
        }
    }

    /// For looking only: nothing is moved, whatever is found.
    pub fn look(path: &Path) -> Result<Ledger, LedgerError> {
        match (read(path)?, read(&durable::beside(path, "previous"))?) {
            (Ok(ledger), _) | (Err(_), Ok(ledger)) => Ok(ledger),
            (Err(Damage::Missing), Err(Damage::Missing)) => Ok(Ledger::default()),
            (Err(why), Err(why_previous)) => Err(LedgerError::Damaged {
                path: path.to_owned(),
                why: why.to_string(),
                why_previous: why_previous.to_string(),
            }),
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// On the disk when this returns, or the node stops trusting its disk: a failed
    /// sync is for the caller to die of, not to try again.
    pub fn write(&mut self, ledger: Ledger) -> Result<(), LedgerError> {
        if ledger == self.ledger && self.path.exists() {
            return Ok(());
        }
        let bytes = encode(&ledger)?;
        let new = durable::beside(&self.path, "new");
        if let Err(error) = durable::write_new(&new, &bytes, MODE) {
            // Half a ledger takes room that another attempt may need.
            let _what_matters_is_why = durable::remove(&new);
            return Err(error.into());
        }
        boundary(Boundary::LedgerWritten);
        self.keep_previous()?;
        boundary(Boundary::LedgerKept);
        std::fs::rename(&new, &self.path).map_err(failed("rename", &new))?;
        boundary(Boundary::LedgerRenamed);
        durable::sync_directory(durable::parent(&self.path))?;
        self.ledger = ledger;
        Ok(())
    }

    /// By a second name and not by a rename, so that there is a ledger at every instant.
    fn keep_previous(&self) -> Result<(), FileError> {
        let link = durable::beside(&self.path, "link");
        durable::remove(&link)?;
        match std::fs::hard_link(&self.path, &link) {
            Ok(()) => std::fs::rename(&link, durable::beside(&self.path, "previous"))
                .map_err(failed("rename", link)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("link", &self.path)(error)),
        }
    }
}

/// The bytes of a ledger's file.
pub fn encode(ledger: &Ledger) -> Result<Vec<u8>, LedgerError> {
    let body = serde_json::to_vec(ledger).map_err(|error| LedgerError::Encode(error.to_string()))?;
    Ok(seal(&body))
}

/// With the checksum that is right for them, whatever the bytes are.
pub fn seal(body: &[u8]) -> Vec<u8> {
    let checksum = Digest::of(body).to_string();
    let parts = [
        OPENING.as_bytes(),
        checksum.as_bytes(),
        MIDDLE.as_bytes(),
        body,
        CLOSING.as_bytes(),
    ];
    parts.concat()
}

/// The outer error is a disk that cannot be read, the inner one bytes that are wrong.
fn read(path: &Path) -> Result<Result<Ledger, Damage>, FileError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Err(Damage::Missing)),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Of bytes that somebody else may have had in hand.
pub fn decode(bytes: &[u8]) -> Result<Ledger, Damage> {
    let (checksum, body) = bytes
        .strip_prefix(OPENING.as_bytes())
        .and_then(|rest| rest.strip_suffix(CLOSING.as_bytes()))
        .and_then(|rest| rest.split_at_checked(DIGEST_CHARS))
        .and_then(|(checksum, rest)| Some((checksum, rest.strip_prefix(MIDDLE.as_bytes())?)))
        .ok_or(Damage::Torn)?;
    if Digest::of(body).to_string().as_bytes() != checksum {
        return Err(Damage::Checksum);
    }
    serde_json::from_slice(body).map_err(|error| Damage::Malformed(error.to_string()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::ledger::AppRecord;

    fn ledger(floor: u64) -> Ledger {
        let mut ledger = Ledger::default();
        let record = AppRecord {
            floor,
            ..AppRecord::default()
        };
        ledger.apps.insert("shop".parse().unwrap(), record);
        ledger
    }

    #[test]
    fn what_was_written_is_read_and_the_one_before_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        let mut file = LedgerFile::open(&path).unwrap();
        assert_eq!(file.ledger(), &Ledger::default());
        file.write(ledger(1)).unwrap();
        file.write(ledger(2)).unwrap();
        assert_eq!(LedgerFile::open(&path).unwrap().ledger(), &ledger(2));
        let previous = LedgerFile::open(&directory.path().join("ledger.json.previous")).unwrap();
        assert_eq!(previous.ledger(), &ledger(1));
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["ledger"]["apps"]["shop"]["floor"], 2);
    }

    /// Every torn length and every flipped bit is either noticed, and the generation
    /// before is taken, or it is not there.
    #[test]
    fn no_damage_is_misread() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.json");
        let mut file = LedgerFile::open(&path).unwrap();
        file.write(ledger(1)).unwrap();
        file.write(ledger(2)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let torn = (0..whole.len()).map(|length| whole[..length].to_vec());
        let flipped = (0..whole.len() * 8).map(|bit| {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        for bytes in torn.chain(flipped) {
            std::fs::write(&path, &bytes).unwrap();
            let opened = LedgerFile::open(&path).unwrap();
            assert_eq!(opened.ledger(), &ledger(1), "{}", String::from_utf8_lossy(&bytes));
            assert!(opened.fell_back.is_some());
        }
    }

    #[test]
    fn two_damaged_generations_are_an_error_and_not_an_empty_node() {
        for previous in [None, Some("{")] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("it's here").join("ledger.json");
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "{").unwrap();
            if let Some(text) = previous {
                std::fs::write(durable::beside(&path, "previous"), text).unwrap();
            }
            let Err(error @ LedgerError::Damaged { .. }) = LedgerFile::open(&path) else {
                unreachable!("it was opened");
            };
            // The hint is for pasting.
            let message = error.to_string();
            let command = message.split('`').nth(1).unwrap();
            let pasted = std::process::Command::new("sh")
                .args(["-c", command])
                .status()
                .unwrap();
            assert!(pasted.success(), "{command}");
            assert_eq!(LedgerFile::open(&path).unwrap().ledger(), &Ledger::default());
        }
    }
}
