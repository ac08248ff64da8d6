//! What `pm2 jlist` says. It comes from outside, and behind a banner the first time.

use std::path::PathBuf;

use serde::Deserialize;

use crate::process::proc::ProcessId;

/// More apps than that are on no node.
const APPS_MAX: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("it has no list in it")]
    None,
    #[error("it has more than {APPS_MAX} apps")]
    TooMany,
}

/// One process of an app; an app may have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub name: String,
    /// None while it does not run.
    pub process: Option<ProcessId>,
    /// In pm2's word: `online`, `launching`, `errored`, `stopped`…
    pub status: String,
    pub restarts: u64,
    /// In milliseconds.
    pub since: u64,
    pub exit_code: Option<i64>,
    pub error_log: PathBuf,
    pub output_log: PathBuf,
    /// In which it was started.
    pub directory: PathBuf,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    pid: Option<i32>,
    pm2_env: Env,
}

/// Only these: what else is in it are the app's variables, and some of them are secrets.
#[derive(Deserialize)]
struct Env {
    #[serde(default)]
    status: String,
    #[serde(default)]
    restart_time: u64,
    #[serde(default)]
    pm_uptime: u64,
    #[serde(default)]
    exit_code: Option<i64>,
    #[serde(default)]
    pm_err_log_path: PathBuf,
    #[serde(default)]
    pm_out_log_path: PathBuf,
    #[serde(default)]
    pm_cwd: PathBuf,
}

pub fn parse(output: &[u8]) -> Result<Vec<App>, ListError> {
    let rows = rows(output).ok_or(ListError::None)?;
    if rows.len() > APPS_MAX {
        return Err(ListError::TooMany);
    }
    Ok(rows.into_iter().map(app).collect())
}

/// A line of its own, and the last of them: what comes before may look like one.
fn rows(output: &[u8]) -> Option<Vec<Row>> {
    let lines = output.rsplit(|byte| *byte == b'\n');
    let mut lists = lines.filter(|line| line.starts_with(b"["));
    lists.find_map(|line| serde_json::from_slice(line).ok())
}

fn app(row: Row) -> App {
    let env = row.pm2_env;
    App {
        name: row.name,
        process: row.pid.filter(|pid| *pid > 0).and_then(ProcessId::of),
        status: env.status,
        restarts: env.restart_time,
        since: env.pm_uptime,
        exit_code: env.exit_code,
        error_log: env.pm_err_log_path,
        output_log: env.pm_out_log_path,
        directory: env.pm_cwd,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_behind_whatever_is_said_before_it() {
        let own = std::process::id();
        let list = format!(
            r#"[{{"pid":{own},"name":"api","pm2_env":{{"status":"online","restart_time":2,"pm_uptime":5,"exit_code":1,"TOKEN":"s","env":{{"a":[]}}}}}},{{"name":"w","pm2_env":{{"status":"errored"}}}}]"#
        );
        for banner in [
            "",
            "[PM2] Spawning [] daemon\n[{ welcome }]\n[]\n",
            ">>>> In-memory [{\"a\":1}]\n",
        ] {
            let apps = parse(format!("{banner}{list}\n").as_bytes()).unwrap();
            let [api, worker] = apps.as_slice() else {
                unreachable!("{apps:?}")
            };
            assert_eq!((api.name.as_str(), api.restarts, api.since), ("api", 2, 5));
            assert_eq!(api.process.unwrap().pid, i32::try_from(own).unwrap());
            assert_eq!((worker.status.as_str(), worker.process), ("errored", None));
        }
        assert_eq!(parse(b"[]").unwrap(), []);
        for bad in ["", "nothing", "[{\"name\":", "[{}]", "[{\"name\":\"x\"}]"] {
            assert!(matches!(parse(bad.as_bytes()), Err(ListError::None)), "{bad}");
        }
    }
}
