//! Programs that are asked something: they answer in a few lines, and not for ever.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::log::harmless;

/// What programs are found in, an app's too where nothing else was said.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LINES_SHOWN: usize = 5;

/// How far a program is listened to.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub within: Duration,
    /// Of each of its two outputs. Whatever else it says is let go.
    pub bytes_max: u64,
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
        read(child.stdout.take(), patience.bytes_max),
        read(child.stderr.take(), patience.bytes_max),
    ];
    let status = wait(&mut child, patience.within);
    if status.is_none() {
        drop(Group(Some(child.id())));
        let _reaped = child.wait();
    }
    let [output, errors] = readers.map(|reader| reader.join().unwrap_or_default());
    Ok(status.map(|status| Answer {
        status,
        output,
        errors,
    }))
}

fn read(from: Option<impl Read + Send + 'static>, bytes_max: u64) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _cut = from.by_ref().take(bytes_max).read_to_end(&mut bytes);
            // Whoever says more must not be killed for it.
            let _rest = io::copy(&mut from, &mut io::sink());
        }
        bytes
    })
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
