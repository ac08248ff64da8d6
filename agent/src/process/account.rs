//! As whom, where and within which limits a program runs, and the way there.
//!
//! ```text
//! Account::of(user, group)  names → numbers, by whoever starts the program
//! Become                     handed to `fleet-agent launch`, in the child
//! take_on()                  limits, groups, gid, uid; looked at; then the directory
//! ```
//!
//! The way is gone one way only: after it nothing of the agent's rights is left, not even
//! to be taken up again.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet_proto::release::Limits;
use fleet_proto::session::FailureClass;
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups, getresgid, getresuid, setgid,
    setgroups, setuid,
};
use serde::{Deserialize, Serialize};

use super::log::harmless;

/// A message and its hint.
const SAID_LINES_MAX: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error(
        "there is no user {name} on this node\nhint: `useradd --system {name}` makes one, or name another one in `user`"
    )]
    NoUser { name: String },
    #[error(
        "there is no group {name} on this node\nhint: `groupadd --system {name}` makes one, or name another one in `group`"
    )]
    NoGroup { name: String },
    #[error("cannot look up {name}")]
    LookUp {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "this agent runs as uid {own} and cannot become {name}\nhint: run the agent as root, or leave `user` out of the release"
    )]
    NotAllowed { own: Uid, name: String },
    #[error(
        "cannot take on the {what} of {name}: {source}\nhint: the agent has to be root, with CAP_SETUID and CAP_SETGID"
    )]
    TakeOn {
        what: &'static str,
        name: String,
        source: io::Error,
    },
    #[error("cannot limit `{what}` to {to}")]
    Limit {
        what: &'static str,
        to: u64,
        #[source]
        source: io::Error,
    },
    #[error("it did not become {name} altogether: {found}")]
    NotBecome { name: String, found: String },
    #[error("{who} cannot work in {}: {source}\nhint: it has to be there, and theirs to enter", .directory.display())]
    Directory {
        who: String,
        directory: PathBuf,
        source: io::Error,
    },
    #[error("cannot try what it shall run as")]
    Trial(#[source] io::Error),
    #[error("{said}")]
    Refused { said: String },
}

impl AccountError {
    /// Whoever cannot be asked or started is not the release's fault.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::LookUp { .. } | Self::Trial(_) => FailureClass::Infrastructure,
            Self::NoUser { .. }
            | Self::NoGroup { .. }
            | Self::NotAllowed { .. }
            | Self::TakeOn { .. }
            | Self::Limit { .. }
            | Self::NotBecome { .. }
            | Self::Directory { .. }
            | Self::Refused { .. } => FailureClass::Release,
        }
    }
}

/// Somebody on this node, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub name: String,
    pub home: PathBuf,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

/// What a child becomes before it is the app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Become {
    pub account: Option<Account>,
    pub limits: Limits,
    /// Entered as them: what they may not enter is not worked in.
    pub directory: Option<PathBuf>,
}

impl Account {
    /// With the groups that the user is in, unless one is named.
    pub fn of(name: &str, group: Option<&str>) -> Result<Self, AccountError> {
        let look_up = |source: Errno| AccountError::LookUp {
            name: name.to_owned(),
            source: source.into(),
        };
        let user = User::from_name(name).map_err(look_up)?;
        let user = user.ok_or_else(|| AccountError::NoUser {
            name: name.to_owned(),
        })?;
        let (gid, groups) = match group {
            Some(name) => {
                let found = Group::from_name(name).map_err(look_up)?;
                let group = found.ok_or_else(|| AccountError::NoGroup {
                    name: name.to_owned(),
                })?;
                (group.gid, vec![group.gid])
            }
            None => {
                let name = CString::new(name).map_err(|_| look_up(Errno::EINVAL))?;
                (user.gid, getgrouplist(&name, user.gid).map_err(look_up)?)
            }
        };
        let mut groups: Vec<u32> = groups.into_iter().map(Gid::as_raw).collect();
        groups.sort_unstable();
        groups.dedup();
        let account = Self {
            name: user.name,
            home: user.dir,
            uid: user.uid.as_raw(),
            gid: gid.as_raw(),
            groups,
        };
        account.must_be_in_reach()?;
        Ok(account)
    }

    /// What a login would set.
    pub fn env(&self) -> [(&'static str, OsString); 3] {
        let name = OsString::from(&self.name);
        [
            ("HOME", self.home.clone().into()),
            ("USER", name.clone()),
            ("LOGNAME", name),
        ]
    }

    pub fn uid(&self) -> Uid {
        Uid::from_raw(self.uid)
    }

    /// Before anything is begun: only root becomes another one.
    fn must_be_in_reach(&self) -> Result<(), AccountError> {
        if geteuid().is_root() || self.is_own() {
            return Ok(());
        }
        Err(AccountError::NotAllowed {
            own: geteuid(),
            name: self.name.clone(),
        })
    }

    fn is_own(&self) -> bool {
        let groups = own_groups().unwrap_or_default();
        let rest = |groups: &[u32]| -> Vec<u32> {
            let others = groups.iter().copied().filter(|group| *group != self.gid);
            others.collect()
        };
        geteuid().as_raw() == self.uid
            && getegid().as_raw() == self.gid
            && rest(&groups) == rest(&self.groups)
    }

    fn take_on(&self) -> Result<(), AccountError> {
        if !geteuid().is_root() && self.is_own() {
            return Ok(());
        }
        let failed = |what| {
            move |source: Errno| AccountError::TakeOn {
                what,
                name: self.name.clone(),
                source: source.into(),
            }
        };
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(failed("groups"))?;
        setgid(Gid::from_raw(self.gid)).map_err(failed("group"))?;
        setuid(self.uid()).map_err(failed("user id"))?;
        self.must_be_all()
    }

    /// By the kernel's word: nothing of the former one is kept anywhere, and there is no way
    /// back to it.
    fn must_be_all(&self) -> Result<(), AccountError> {
        let refuse = |found: String| {
            Err(AccountError::NotBecome {
                name: self.name.clone(),
                found,
            })
        };
        let (Ok(users), Ok(groups), Ok(others)) = (getresuid(), getresgid(), own_groups()) else {
            return refuse("the kernel does not say who it is".to_owned());
        };
        let users = [users.real, users.effective, users.saved].map(Uid::as_raw);
        let groups = [groups.real, groups.effective, groups.saved].map(Gid::as_raw);
        if users != [self.uid; 3] || groups != [self.gid; 3] || others != self.groups {
            return refuse(format!("uids {users:?}, gids {groups:?}, groups {others:?}"));
        }
        if self.uid != 0 && setuid(Uid::from_raw(0)).is_ok() {
            return refuse("it can become root again".to_owned());
        }
        Ok(())
    }
}

fn own_groups() -> Result<Vec<u32>, Errno> {
    let mut groups: Vec<u32> = getgroups()?.into_iter().map(Gid::as_raw).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

impl Become {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it could be taken on now, found out by a child that does, and runs nothing.
    pub fn try_on(&self, program: &Path) -> Result<(), AccountError> {
        let output = Command::new(program)
            .arg0("fleet-agent")
            .args(["launch", "--become", &self.to_argument()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .output()
            .map_err(AccountError::Trial)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<String> = said.lines().take(SAID_LINES_MAX).map(harmless).collect();
        let said = said.join("\n");
        Err(AccountError::Refused {
            said: said.strip_prefix("fleet-agent: ").unwrap_or(&said).to_owned(),
        })
    }

    /// For the command line of `fleet-agent launch`.
    pub fn to_argument(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn from_argument(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Limits first: only root may raise what is given to it.
    pub fn take_on(&self) -> Result<(), AccountError> {
        limit(&self.limits)?;
        if let Some(account) = &self.account {
            account.take_on()?;
        }
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        std::env::set_current_dir(directory).map_err(|source| AccountError::Directory {
            who: match &self.account {
                Some(account) => account.name.clone(),
                None => format!("uid {}", geteuid()),
            },
            directory: directory.clone(),
            source,
        })
    }
}

/// The soft limit too: what is meant to hold is not the app's to raise.
fn limit(limits: &Limits) -> Result<(), AccountError> {
    let bytes = |bytes: fleet_proto::quantity::Bytes| bytes.0;
    // The address space last, for it is this very program's too.
    let all = [
        ("open_files", Resource::RLIMIT_NOFILE, limits.open_files),
        ("processes", Resource::RLIMIT_NPROC, limits.processes),
        ("core", Resource::RLIMIT_CORE, limits.core.map(bytes)),
        (
            "address_space",
            Resource::RLIMIT_AS,
            limits.address_space.map(bytes),
        ),
    ];
    for (what, resource, to) in all {
        let Some(to) = to else { continue };
        setrlimit(resource, to, to).map_err(|source| AccountError::Limit {
            what,
            to,
            source: source.into(),
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_has_say_what_would_help() {
        let error = Account::of("no-such-user", None).unwrap_err().to_string();
        assert!(
            error.starts_with("there is no user no-such-user on this node\nhint: "),
            "{error}"
        );
        let error = Account::of("root", Some("no-such-group")).unwrap_err();
        assert!(matches!(error, AccountError::NoGroup { .. }), "{error}");
    }

    #[test]
    fn a_group_that_is_named_is_the_only_one() {
        if !geteuid().is_root() {
            return;
        }
        let own = Account::of("daemon", None).unwrap();
        assert_eq!(own.groups, [own.gid]);
        let named = Account::of("daemon", Some("adm")).unwrap();
        assert_ne!(named.gid, own.gid);
        assert_eq!(named.groups, [named.gid]);
        let all = Become {
            account: Some(named),
            ..Become::default()
        };
        assert_eq!(Become::from_argument(&all.to_argument()), Some(all));
    }
}
