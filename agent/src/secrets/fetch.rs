//! Asking the providers: all of it within one time limit, and given up when somebody wants
//! something else meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use fleet_proto::ids::ProviderName;
use fleet_proto::release::SecretKeyName;
use fleet_proto::tree::TreePath;
use nix::fcntl::OFlag;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::provider::{ExecProvider, FileProvider, KEY, Provider};
use super::vault::Visitor;
use super::{SECRET_BYTES_MAX, Secret, Why};
use crate::process::asked::{Group, PATH};

/// A file with lines as `KEY=value`.
const LINES_BYTES_MAX: u64 = 1 << 20;
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub type Wanted = (ProviderName, SecretKeyName);
pub type Had = BTreeMap<Wanted, Result<Secret, Why>>;

/// Somebody wants something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

/// An answer to each of them, good or bad. Blocks; in a thread of its own, for whoever calls
/// may be in the middle of other asynchronous work.
pub fn fetch(
    providers: &BTreeMap<ProviderName, Provider>,
    wanted: &BTreeSet<Wanted>,
    within: Duration,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<Had, Interrupted> {
    let nobody = |why: &str| {
        wanted
            .iter()
            .map(|wanted| (wanted.clone(), Err(Why::new(why))))
            .collect()
    };
    let (sender, receiver) = channel();
    let (of_providers, of_wanted) = (providers.clone(), wanted.clone());
    let asking = std::thread::Builder::new()
        .name("secrets".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                let _nobody_waits = sender.send(runtime.block_on(ask_all(&of_providers, &of_wanted, within)));
            }
        });
    if asking.is_err() {
        return Ok(nobody("this machine gives no thread to ask in"));
    }
    // It ends by itself; what it has begun ends with it.
    let deadline = Instant::now() + within + within;
    loop {
        match receiver.recv_timeout(LOOK_EVERY) {
            Ok(had) => return Ok(had),
            Err(RecvTimeoutError::Disconnected) => return Ok(nobody("whoever asked for it is gone")),
            Err(RecvTimeoutError::Timeout) if is_interrupted() => return Err(Interrupted),
            Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                return Ok(nobody("nobody answers"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

async fn ask_all(
    providers: &BTreeMap<ProviderName, Provider>,
    wanted: &BTreeSet<Wanted>,
    within: Duration,
) -> Had {
    let deadline = tokio::time::Instant::now() + within;
    let late = || {
        Why::new(format!(
            "it did not come within {}s, with the others",
            within.as_secs()
        ))
    };
    let mut had = Had::new();
    let mut visitors: BTreeMap<&ProviderName, Result<Visitor<'_>, Why>> = BTreeMap::new();
    for (from, key) in wanted {
        let asking = async {
            match providers.get(from) {
                None => Err(Why::new(format!(
                    "this node has no such provider\nhint: [secrets.{from}] in agent.toml says where it is"
                ))),
                Some(Provider::File(provider)) => of_file(provider, key.as_str()),
                Some(Provider::Exec(provider)) => of_command(provider, key.as_str()).await,
                Some(Provider::Vault(vault)) => {
                    if !visitors.contains_key(from) {
                        visitors.insert(from, Visitor::log_in(vault).await);
                    }
                    match visitors.get(from) {
                        Some(Ok(visitor)) => visitor.read(key.as_str()).await,
                        Some(Err(why)) => Err(why.clone()),
                        None => Err(late()),
                    }
                }
            }
        };
        let answer = tokio::time::timeout_at(deadline, asking).await;
        had.insert(
            (from.clone(), key.clone()),
            answer.unwrap_or_else(|_| Err(late())),
        );
    }
    had
}

fn of_file(provider: &FileProvider, key: &str) -> Result<Secret, Why> {
    if provider.path.is_dir() {
        let name = TreePath::try_from(key.to_owned())
            .map_err(|_| Why::new("its key is not the name of a file in that directory"))?;
        let bytes = read(&provider.path.join(name.as_str()), SECRET_BYTES_MAX as u64 + 1)?;
        return Ok(Secret::of_line(bytes)?);
    }
    let bytes = zeroize::Zeroizing::new(read(&provider.path, LINES_BYTES_MAX)?);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| {
        let value = line.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_suffix(b"\r").unwrap_or(value))
    });
    let none = || Why::new(format!("there is no such line in {}", provider.path.display()));
    Ok(Secret::new(value.ok_or_else(none)?.to_vec())?)
}

/// Not from a pipe, from which nothing might ever come.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Why> {
    let wrong = |error: std::io::Error| Why::new(format!("cannot read {}: {error}", path.display()));
    let file = File::options()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(wrong)?;
    if !file.metadata().map_err(wrong)?.is_file() {
        return Err(Why::new(format!("{} is no file", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}

/// What it says on stderr is not for anybody: it may be what it found.
async fn of_command(provider: &ExecProvider, key: &str) -> Result<Secret, Why> {
    // It would be taken for an option.
    if key.starts_with('-') {
        return Err(Why::new("a command's key does not begin with `-`"));
    }
    let filled: Vec<String> = provider
        .command
        .iter()
        .map(|part| part.replace(KEY, key))
        .collect();
    let [program, arguments @ ..] = filled.as_slice() else {
        return Err(Why::new("its command is empty"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", std::env::var("HOME").unwrap_or_else(|_| "/".to_owned()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Why::new(format!("cannot run `{program}`: {error}")))?;
    let _group = Group(child.id());
    let output = child.stdout.take();
    let answer = async {
        let mut bytes = Vec::new();
        if let Some(output) = output {
            let mut output = output.take(SECRET_BYTES_MAX as u64 + 2);
            let _cut = output.read_to_end(&mut bytes).await;
        }
        if bytes.len() > SECRET_BYTES_MAX + 1 {
            return Err(Why::new(format!("`{program}` says more than 64KiB")));
        }
        let ended = child.wait().await;
        let status = ended.map_err(|error| Why::new(format!("cannot wait for `{program}`: {error}")))?;
        if !status.success() {
            return Err(Why::new(format!("`{program}` ended with {status}")));
        }
        Ok(Secret::of_line(bytes)?)
    };
    let limit = provider.timeout;
    let answered = tokio::time::timeout(limit.as_duration(), answer).await;
    answered.unwrap_or_else(|_| Err(Why::new(format!("`{program}` did not end within {limit}"))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn ask(provider: &str, key: &str) -> Result<Secret, String> {
        let text = format!("[one]\n{provider}");
        let providers: BTreeMap<ProviderName, Provider> =
            fleet_proto::config::parse("agent.toml", &text).unwrap();
        let wanted = ("one".parse().unwrap(), key.parse().unwrap());
        let all = [wanted.clone()].into();
        let mut had = fetch(&providers, &all, Duration::from_secs(20), &|| false).unwrap();
        had.remove(&wanted).unwrap().map_err(|why| why.to_string())
    }

    #[test]
    fn files_in_a_directory_and_lines_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("all");
        std::fs::write(directory.path().join("db"), "hunter2\n").unwrap();
        std::fs::write(&path, "# comment\nDB=a=b c\r\nDBX=2\n").unwrap();
        nix::unistd::mkfifo(&directory.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let of =
            |path: &Path, key: &str| ask(&format!("kind = \"file\"\npath = \"{}\"", path.display()), key);
        assert_eq!(of(directory.path(), "db").unwrap().expose(), b"hunter2");
        assert_eq!(of(&path, "DB").unwrap().expose(), b"a=b c");
        for (key, why) in [
            ("none", "cannot read"),
            ("../db", "not the name of a file"),
            ("/etc/shadow", "not the name of a file"),
            ("pipe", "is no file"),
        ] {
            let error = of(directory.path(), key).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(of(&path, "D").unwrap_err().contains("there is no such line"));
    }

    #[test]
    fn a_command_is_run_within_its_limits() {
        let of = |script: &str, key: &str| {
            let provider = format!(
                "kind = \"exec\"\ntimeout = \"1s\"\ncommand = [\"sh\", \"-c\", \"{script}\", \"sh\", \"${{key}}\"]"
            );
            ask(&provider, key)
        };
        assert_eq!(of("echo \\\"of $1\\\"", "a b; c").unwrap().expose(), b"of a b; c");
        for (script, key, why) in [
            (
                "echo hunter2 >&2; echo hunter2; exit 3",
                "db",
                "`sh` ended with exit status: 3",
            ),
            ("sleep 100", "db", "`sh` did not end within 1s"),
            ("head -c 100000 /dev/zero", "db", "says more than 64KiB"),
            ("true", "db", "it is empty"),
            ("true", "--help", "does not begin with `-`"),
        ] {
            let error = of(script, key).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn whoever_wants_something_else_does_not_wait() {
        let text = "[one]\nkind = \"exec\"\ntimeout = \"60s\"\ncommand = [\"sleep\", \"60${key}\"]";
        let providers = fleet_proto::config::parse("agent.toml", text).unwrap();
        let wanted = [("one".parse().unwrap(), "s".parse().unwrap())].into();
        let began = Instant::now();
        let had = fetch(&providers, &wanted, Duration::from_secs(60), &|| true);
        assert_eq!(had.unwrap_err(), Interrupted);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_provider_that_is_not_there_is_named() {
        let all = [("other".parse().unwrap(), "db".parse().unwrap())].into();
        let had = fetch(&BTreeMap::new(), &all, Duration::from_secs(1), &|| false).unwrap();
        let why = had.into_values().next().unwrap().unwrap_err().to_string();
        assert!(
            why.contains("no such provider\nhint: [secrets.other] in agent.toml"),
            "{why}"
        );
    }
}
