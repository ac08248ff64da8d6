//! Who asks something of this node, by the kernel's word and not by their own.

use nix::unistd::{Pid, Uid, User};

use crate::process::log::harmless;
use crate::process::proc;

/// What the kernel says where nobody has logged in.
const NOBODY: u32 = u32::MAX;

/// The user of a process, and who has become that user: on most nodes everybody who
/// may do something is root, and that alone says little.
pub fn of(uid: Uid, pid: Option<Pid>) -> String {
    let user = name(uid);
    match pid.and_then(|pid| logged_in(pid.as_raw())) {
        Some(person) if person != user => format!("{user} (logged in as {person})"),
        _ => user,
    }
}

pub fn oneself() -> String {
    of(Uid::current(), Some(Pid::this()))
}

fn name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => harmless(&user.name),
        Ok(None) | Err(_) => format!("uid {uid}"),
    }
}

/// As the login noted it; else as sudo says, which is a claim, but root's.
fn logged_in(pid: i32) -> Option<String> {
    let noted = std::fs::read_to_string(format!("/proc/{pid}/loginuid"))
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .filter(|uid| *uid != NOBODY)
        .map(|uid| name(Uid::from_raw(uid)));
    noted.or_else(|| proc::variable(pid, "SUDO_USER").map(|name| harmless(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_name_has_a_number() {
        assert_eq!(of(Uid::from_raw(3_999_999_999), None), "uid 3999999999");
    }
}
