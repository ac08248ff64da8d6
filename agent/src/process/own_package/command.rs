//! Programs of the system, asked in the system's own words.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::process::asked::{self, PATH, Patience};

/// A list of the files of a package, at most.
const ANSWER_BYTES_MAX: usize = 1 << 20;

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
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8");
    let patience = Patience {
        within,
        bytes_max: ANSWER_BYTES_MAX,
    };
    match asked::ask(&mut command, patience).map_err(cannot)? {
        None => Err(CommandError::Silent { what, within }),
        Some(answer) if answer.status.success() => Ok(String::from_utf8_lossy(&answer.output).into_owned()),
        Some(answer) => Err(CommandError::Failed {
            what,
            status: answer.status,
            said: answer.last_lines(),
        }),
    }
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
        // Somebody who left the group holds the pipe.
        let began = std::time::Instant::now();
        assert_eq!(sh("setsid sleep 30 & echo yes", patient).unwrap(), "yes\n");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(matches!(
            ask("/nowhere", &[], patient),
            Err(CommandError::Run { .. })
        ));
    }
}
