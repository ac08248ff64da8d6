//! Debian packages of the agent: what one is, what is installed, and how dpkg installs it.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;

use super::OwnPackageError;
use super::command::ask;
use super::place::{Place, digest_of};
use super::record::{Fault, Installed, Package, Record, Why};
use crate::durable;
use crate::process::asked::PATH;
use crate::process::end::End;
use crate::process::errand::{self, Task};

pub const NAME: &str = "fleet-agent";
pub const PROGRAM: &str = "/usr/bin/fleet-agent";
/// What a package of some ten megabytes takes, on a disk that is busy.
const WITHIN: Duration = Duration::from_secs(120);
/// Its scripts wait for systemd, and an upgrade of the whole machine for its turn.
const INSTALL_WITHIN: Span = Span::from_secs(300);
/// Another that installs something has the lock for so long.
const LOCKED_FOR_MAX: Duration = Duration::from_secs(120);
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// It prints its version, and nothing else.
const VERSION_WITHIN: Duration = Duration::from_secs(20);
const LINES: usize = 5;

/// Refuses what is no package of the agent for this machine.
pub fn must_fit(file: &Path) -> Result<(), OwnPackageError> {
    let name = file_name(file);
    let path = file.display().to_string();
    let fields = ["--field", &path, "Package", "Version", "Architecture"];
    let fields = ask("dpkg-deb", &fields, WITHIN).map_err(|source| OwnPackageError::NoPackage {
        file: name.clone(),
        source,
    })?;
    let field = |name: &str| field(&fields, name).unwrap_or_default();
    let (package, architecture) = (field("Package"), field("Architecture"));
    if package != NAME {
        return Err(OwnPackageError::OtherPackage { file: name, package });
    }
    let here = ask("dpkg", &["--print-architecture"], WITHIN)?.trim().to_owned();
    if architecture != here && architecture != "all" {
        return Err(OwnPackageError::OtherMachine {
            file: name,
            architecture,
            here,
        });
    }
    Ok(())
}

/// What it would be when it is installed; its program is run, to see whether it can be.
pub fn try_out(place: &Place, file: &Path) -> Result<Package, OwnPackageError> {
    let aside = place.path("aside");
    durable::remove(&aside)?;
    let (path, directory) = (file.display().to_string(), aside.display().to_string());
    ask("dpkg-deb", &["--extract", &path, &directory], WITHIN)?;
    let program = aside.join(PROGRAM.trim_start_matches('/'));
    let found = version_of(file, &program).and_then(|version| {
        let program = digest_of(&program)?;
        Ok(Package { version, program })
    });
    durable::remove(&aside)?;
    found
}

fn version_of(file: &Path, program: &Path) -> Result<String, OwnPackageError> {
    ask(&program.display().to_string(), &["--version"], VERSION_WITHIN).map_err(|source| {
        OwnPackageError::DoesNotRun {
            file: file_name(file),
            source,
        }
    })?;
    let version = ask(
        "dpkg-deb",
        &["--field", &file.display().to_string(), "Version"],
        WITHIN,
    )?;
    Ok(version.trim().to_owned())
}

/// None where it is not installed, or not all of it.
pub fn installed() -> Result<Option<Package>, OwnPackageError> {
    let format = "--showformat=${db:Status-Status} ${db:Status-Eflag} ${Version}";
    // That it knows of no such package it says with its end alone.
    let Ok(shown) = ask("dpkg-query", &["--show", format, NAME], WITHIN) else {
        return Ok(None);
    };
    let words: Vec<&str> = shown.split(' ').collect();
    let [status, "ok", version] = words.as_slice() else {
        return Ok(None);
    };
    // Whoever waits for triggers is installed, and runs.
    if !matches!(*status, "installed" | "triggers-pending" | "triggers-awaited") {
        return Ok(None);
    }
    Ok(Some(Package {
        version: (*version).to_owned(),
        program: digest_of(Path::new(PROGRAM))?,
    }))
}

pub fn installed_of(record: &Record) -> Installed {
    match installed() {
        Ok(Some(package)) if package == record.to => Installed::New,
        Ok(Some(package)) if package == record.from => Installed::Former,
        _ => Installed::Neither,
    }
}

/// Files of configuration stay as they are, and nobody is asked anything.
pub fn install(place: &Place, file: &Path) -> Result<(), Why> {
    let began = Instant::now();
    loop {
        let path = file.display().to_string();
        let failed = match dpkg(place, &["--force-confdef", "--force-confold", "--install", &path]) {
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        if !failed.text.contains("was locked by another process") {
            return Err(failed);
        }
        if began.elapsed() > LOCKED_FOR_MAX {
            return Err(Why {
                fault: Fault::Infrastructure,
                ..failed
            });
        }
        std::thread::sleep(TRY_AGAIN);
    }
}

/// Whatever was interrupted before.
pub fn configure(place: &Place) -> Result<(), Why> {
    dpkg(
        place,
        &["--force-confdef", "--force-confold", "--configure", "--pending"],
    )
}

/// As an errand: one at a time, and to its end also if whoever asks is killed.
fn dpkg(place: &Place, arguments: &[&str]) -> Result<(), Why> {
    let command = [&["dpkg"], arguments].concat();
    let env = [
        ("PATH", PATH),
        ("LC_ALL", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        // Its scripts leave the agent as it runs: the guard starts the new one, once all of
        // the package is there.
        ("FLEET_UPDATE", "guarded"),
    ];
    let task = Task {
        id: format!("{} {}", arguments.join(" "), Timestamp::now().0),
        command: command.into_iter().map(str::to_owned).collect(),
        directory: "/".into(),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        env_from: None,
        home: "/root".to_owned(),
        user: None,
        group: None,
        timeout: INSTALL_WITHIN,
        grace: errand::GRACE,
    };
    let errand = place.dpkg();
    let why = |text: String, fault| Err(Why { text, fault });
    match errand.run(&task) {
        Ok(Some(End::Exited(0))) => Ok(()),
        Ok(Some(End::Exited(code))) => {
            let said = errand.log_tail(LINES).join("; ");
            let fault = match said.contains("No space left on device") {
                true => Fault::Infrastructure,
                false => Fault::Release,
            };
            why(format!("dpkg ended with {code}: {said}"), fault)
        }
        Ok(Some(End::TimedOut)) => why(format!("dpkg took longer than {INSTALL_WITHIN}"), Fault::Release),
        Ok(Some(End::Killed(signal))) => why(
            format!("dpkg was killed by signal {signal}"),
            Fault::Infrastructure,
        ),
        Ok(Some(End::NotStarted(text))) => why(format!("dpkg did not start: {text}"), Fault::Infrastructure),
        Ok(None) => why("nobody saw dpkg's end".to_owned(), Fault::Infrastructure),
        Err(error) => why(crate::effects::chain(&error), Fault::Infrastructure),
    }
}

/// Of a paragraph of control data.
pub fn field(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// The paragraph without these fields, with the lines that go on from them.
pub fn without(text: &str, names: &[&str]) -> String {
    let mut is_left_out = false;
    let mut left = String::new();
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            let name = line.split(':').next().unwrap_or_default();
            is_left_out = names.contains(&name);
        }
        if !is_left_out && !line.is_empty() {
            left.push_str(line);
            left.push('\n');
        }
    }
    left
}

fn file_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn what_dpkg_has_added_is_taken_off_again() {
        let status = "Package: fleet-agent\nStatus: install ok installed\nVersion: 0.1.0-1\n\
                      Conffiles:\n /etc/fleet/agent.toml 0123\n /etc/fleet/other 4567\n\
                      Description: Runs on a node\n Fleet brings releases.\n .\n More.\n\n";
        assert_eq!(field(status, "Version").unwrap(), "0.1.0-1");
        assert_eq!(field(status, "Vers"), None);
        assert_eq!(
            without(status, &["Status", "Conffiles"]),
            "Package: fleet-agent\nVersion: 0.1.0-1\nDescription: Runs on a node\n \
             Fleet brings releases.\n .\n More.\n"
        );
    }
}
