//! A command, run in the component's directory, exits with 0.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};

use super::{Miss, Passed};
use crate::effects::chain;
use crate::process::account::{Account, Become};
use crate::process::asked::Group;
use crate::process::log::harmless;
use crate::process::run_directory::RUN_VARIABLE;
use crate::process::spec::Spec;
use crate::secrets::kept::SecretEnv;

const OUTPUT_BYTES_MAX: usize = 4 << 10;
/// What is in a pipe is read in less; only a process that left the group can hold it open.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// In a process group of its own, which is killed when the time limit drops this.
pub async fn run(command: &[String], spec: &Spec, secrets: &SecretEnv) -> Result<Passed, Miss> {
    let [program, arguments @ ..] = command else {
        return Err(Miss::new("has no command"));
    };
    let account = account_of(spec).await?;
    let directory = spec.working_directory();
    let mut started = match &account {
        None => Command::new(program),
        Some(_) => Command::new("/proc/self/exe"),
    };
    match &account {
        None => started.current_dir(directory).args(arguments),
        Some(account) => {
            // The limits are the app's own.
            let becoming = Become {
                account: Some(account.clone()),
                directory: Some(directory),
                ..Become::default()
            };
            started
                .args(["launch", "--become", &becoming.to_argument(), "--"])
                .args(command)
        }
    };
    let mut child = started
        .env_clear()
        .env("HOME", &spec.home)
        .envs(account.iter().flat_map(Account::env))
        .envs(&spec.env)
        .envs(secrets.variables())
        .env_remove(RUN_VARIABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Miss::new(format!("cannot run `{program}`: {error}")))?;
    let group = Group(child.id());
    let mut said = Said::default();
    let output = child.stderr.take();
    let status = {
        let reading = read_last(output, &mut said);
        tokio::pin!(reading);
        // Its end is the answer, whoever else still holds the other end of its output.
        let (status, is_read) = tokio::select! {
            status = child.wait() => (status, false),
            () = &mut reading => (child.wait().await, true),
        };
        drop(group);
        if !is_read {
            // With its group gone, all that it wrote can be read.
            let _someone_left_the_group = tokio::time::timeout(LAST_WORDS, reading).await;
        }
        status.map_err(|error| Miss::new(format!("cannot wait for `{program}`: {error}")))?
    };
    if status.success() {
        return Ok(Passed::default());
    }
    let last = said.last_line();
    let figure = status
        .code()
        .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let mut miss = Miss::against(
        format!("ended with {status}, expected exit status: 0"),
        figure,
        "0",
    );
    if !last.is_empty() {
        miss.why.push_str(&format!(": {last}"));
    }
    Err(miss)
}

/// Where users come from a directory of the network, that may keep one waiting.
async fn account_of(spec: &Spec) -> Result<Option<Account>, Miss> {
    let spec = spec.clone();
    let looked = tokio::task::spawn_blocking(move || spec.account()).await;
    match looked {
        Ok(found) => found.map_err(|error| Miss::new(chain(&error))),
        Err(error) => Err(Miss::new(chain(&error))),
    }
}

/// Keeps the end, which tells why, and reads all: a command that nobody listens to any
/// more would be killed for talking.
async fn read_last(output: Option<ChildStderr>, said: &mut Said) {
    let Some(mut output) = output else {
        return;
    };
    let mut buffer = [0; 1024];
    while let Ok(count) = output.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        said.take(&buffer[..count]);
    }
}

/// The end of what a command said.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Said {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.bytes.drain(..excess);
        self.is_cut |= excess > 0;
    }

    /// Half a line may begin with half a secret, which nobody would know for one.
    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let whole = text.lines().skip(usize::from(self.is_cut));
        whole.last().map(harmless).unwrap_or_default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    async fn check(script: &str) -> Result<Passed, Miss> {
        let spec = serde_json::json!({
            "release": "00".repeat(32), "tree": "00".repeat(32), "directory": "/",
            "env": {"PATH": "/usr/bin:/bin"}, "home": "/",
            "how": {"by": "supervise", "command": [], "stop_signal": "SIGTERM", "grace": "1s"},
        });
        let spec = serde_json::from_value(spec).unwrap();
        let command = ["sh", "-c", script].map(str::to_owned);
        let looked = tokio::time::timeout(
            Duration::from_secs(10),
            run(&command, &spec, &SecretEnv::default()),
        )
        .await;
        looked.unwrap()
    }

    #[tokio::test]
    async fn the_exit_status_decides_whatever_is_said() {
        assert_eq!(check("exit 0").await, Ok(Passed::default()));
        let talk = "head -c 1000000 /dev/zero | tr '\\0' '\\n' >&2";
        assert_eq!(check(&format!("{talk} && exit 0")).await, Ok(Passed::default()));
        let miss = check(&format!("{talk}; echo the database is gone >&2; exit 3"))
            .await
            .unwrap_err();
        assert!(miss.why.ends_with(": the database is gone"), "{}", miss.why);
        assert_eq!(miss.figure.as_deref(), Some("3"));
        // A helper that stays behind is no reason to wait.
        assert_eq!(check("sleep 1000 & exit 0").await, Ok(Passed::default()));
        assert_eq!(check("setsid -f sleep 3; exit 0").await, Ok(Passed::default()));
    }
}
