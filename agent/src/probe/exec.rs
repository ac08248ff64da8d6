//! A command, run in the component's directory, exits with 0.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{Miss, Passed};
use crate::process::log::harmless;
use crate::process::run_directory::{RUN_VARIABLE, Spec};

const OUTPUT_BYTES_MAX: u64 = 4 << 10;

/// In a process group of its own, which is killed when the time limit drops this.
pub async fn run(command: &[String], spec: &Spec) -> Result<Passed, Miss> {
    let [program, arguments @ ..] = command else {
        return Err(Miss::new("has no command"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(&spec.directory)
        .env_clear()
        .envs(&spec.env)
        .env_remove(RUN_VARIABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Miss::new(format!("cannot run `{program}`: {error}")))?;
    let group = Group(child.id());
    let mut said = Vec::new();
    if let Some(output) = child.stderr.take() {
        // What does not fit is not waited for: the command may talk for ever.
        let _cut_short = output.take(OUTPUT_BYTES_MAX).read_to_end(&mut said).await;
    }
    let status = child
        .wait()
        .await
        .map_err(|error| Miss::new(format!("cannot wait for `{program}`: {error}")))?;
    drop(group);
    if status.success() {
        return Ok(Passed::default());
    }
    let last = String::from_utf8_lossy(&said);
    let last = last.lines().next_back().map(harmless).unwrap_or_default();
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

struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            let _gone =
                nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}
