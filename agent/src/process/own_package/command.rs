//! Programs of the system that answer in a few lines, and not for ever.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::process::log::harmless;

pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A list of the files of a package, at most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LINES_SHOWN: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot run {program}")]
    Run {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} gave no answer within {}s", .within.as_secs())]
    Silent { what: String, within: Duration },
    #[error("{what} ended with {status}: {said}")]
    Failed {
        what: String,
        status: ExitStatus,
        said: String,
    },
}

/// What it prints, if it ends well.
pub fn ask(program: &str, arguments: &[&str], within: Duration) -> Result<String, CommandError> {
    let cannot = |source| CommandError::Run {
        program: program.to_owned(),
        source,
    };
    let name = program.rsplit('/').next().unwrap_or(program);
    let what = format!("{name} {}", arguments.first().unwrap_or(&""));
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(cannot)?;
    let readers = [read(child.stdout.take()), read(child.stderr.take())];
    let status = wait(&mut child, within);
    if status.is_none() {
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let _gone = killpg(group, Signal::SIGKILL);
        let _reaped = child.wait();
    }
    let [output, errors] = readers.map(|reader| reader.join().unwrap_or_default());
    match status {
        None => Err(CommandError::Silent { what, within }),
        Some(status) if status.success() => Ok(String::from_utf8_lossy(&output).into_owned()),
        Some(status) => {
            let said = last_lines(&[output, errors].concat());
            Err(CommandError::Failed { what, status, said })
        }
    }
}

fn read(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _cut = from.by_ref().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
            let _rest = std::io::copy(&mut from, &mut std::io::sink());
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

fn last_lines(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(harmless)
        .collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("; ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn whoever_gives_no_answer_is_not_waited_for() {
        let sh = |script, within| ask("sh", &["-c", script], within);
        let patient = Duration::from_secs(30);
        assert_eq!(sh("echo yes", patient).unwrap(), "yes\n");
        let failed = sh("echo why >&2; exit 3", patient).unwrap_err().to_string();
        assert_eq!(failed, "sh -c ended with exit status: 3: why");
        let silent = sh("exec sleep 60", Duration::from_millis(100)).unwrap_err();
        assert!(matches!(silent, CommandError::Silent { .. }), "{silent}");
        assert!(matches!(
            ask("/nowhere", &[], patient),
            Err(CommandError::Run { .. })
        ));
    }
}
