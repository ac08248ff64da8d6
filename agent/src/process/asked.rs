//! Programs that are asked something: they answer in a few lines, and not for ever.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::log::harmless;

/// What programs are found in, an app's too where nothing else was said.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What is in a pipe is read in less; only a process that left the group can hold it open.
const LAST_WORDS: Duration = Duration::from_millis(500);
const LINES_SHOWN: usize = 5;

/// How far a program is listened to.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub within: Duration,
    /// Of each of its two outputs. Whatever else it says is let go.
    pub bytes_max: usize,
}

pub struct Answer {
    pub status: ExitStatus,
    pub output: Vec<u8>,
    errors: Vec<u8>,
}

impl Answer {
    /// The last few lines of all that it said, made harmless.
    pub fn last_lines(&self) -> String {
        let said = [self.output.as_slice(), &self.errors].concat();
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<String> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(harmless)
            .collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("; ")
    }
}

/// A process group, by who leads it; killed when this is dropped, with whatever was started
/// in it.
pub struct Group(pub Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// None if it gave no answer within its time: then it is ended, with all that it started.
pub fn ask(command: &mut Command, patience: Patience) -> io::Result<Option<Answer>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let readers = [
        Reader::begin(child.stdout.take(), patience.bytes_max),
        Reader::begin(child.stderr.take(), patience.bytes_max),
    ];
    let status = wait(&mut child, patience.within);
    if status.is_none() {
        drop(Group(Some(child.id())));
        let _reaped = child.wait();
    }
    let [output, errors] = readers.map(Reader::end);
    Ok(status.map(|status| Answer {
        status,
        output,
        errors,
    }))
}

/// What was said so far, while it goes on.
struct Reader {
    said: Arc<Mutex<Vec<u8>>>,
    is_over: Receiver<()>,
}

impl Reader {
    fn begin(from: Option<impl Read + Send + 'static>, bytes_max: usize) -> Self {
        let said = Arc::new(Mutex::new(Vec::new()));
        let (over, is_over) = mpsc::sync_channel(1);
        let heard = said.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            let mut from = from;
            while let Some(read) = from.as_mut().and_then(|from| from.read(&mut piece).ok()) {
                if read == 0 {
                    break;
                }
                // Whoever says more must not be killed for it.
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let room = bytes_max.saturating_sub(heard.len()).min(read);
                heard.extend_from_slice(&piece[..room]);
            }
            let _nobody_waits = over.send(());
        });
        Self { said, is_over }
    }

    /// Whoever still holds the other end is not waited for.
    fn end(self) -> Vec<u8> {
        let _over_or_not = self.is_over.recv_timeout(LAST_WORDS);
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    None
}
