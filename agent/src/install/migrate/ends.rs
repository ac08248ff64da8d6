//! What the end of a migration's command means, and what is to be asked before anybody says so.

use fleet_proto::migration::{MigrationAct, MigrationStand};

use crate::process::end::End;

/// A migration that says how it stands, and not by an error.
const NOT_APPLIED: i32 = 1;

/// What follows from how a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// It stands so, and nothing went wrong.
    Stands(MigrationStand),
    /// It stands so, and the command's own words say what went wrong.
    Fails(MigrationStand),
    /// It is applied, and must be as it should be.
    Verify,
    /// Whoever was ended had no say in it: its `status` is asked.
    Ask,
}

/// Who says that a command did not come to its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Whoever ran it: it was killed, or took too long.
    Runner,
    /// Nobody: what ran it is gone too.
    Nobody,
}

pub fn after(act: MigrationAct, end: &End) -> Follows {
    use MigrationStand::{Done, Failed, NotStarted, Unknown};
    match (act, end) {
        (_, End::NotStarted(_)) => Follows::Fails(NotStarted),
        (MigrationAct::Status, End::Exited(0)) => Follows::Stands(Done),
        (MigrationAct::Status, End::Exited(NOT_APPLIED)) => Follows::Stands(NotStarted),
        (MigrationAct::Status, _) => Follows::Fails(Unknown),
        (MigrationAct::Up, End::Exited(0)) => Follows::Verify,
        (MigrationAct::Down | MigrationAct::Contract, End::Exited(0)) => Follows::Stands(Done),
        (_, End::Exited(_)) => Follows::Fails(Failed),
        (_, End::Killed(_) | End::TimedOut) => Follows::Ask,
    }
}

/// Where it is not to be seen how a command ended: nothing was run for certain, or nobody
/// knows how far it came.
pub fn without_an_end(is_before_it_began: bool) -> MigrationStand {
    match is_before_it_began {
        true => MigrationStand::NotStarted,
        false => MigrationStand::Unknown,
    }
}

/// Whether `status` can tell how far an act came.
pub fn is_told_by_status(act: MigrationAct) -> bool {
    matches!(act, MigrationAct::Up | MigrationAct::Down)
}

/// By what its `status` says of an act that did not come to its own end; none where it has
/// none, or gave no answer.
pub fn by_status(act: MigrationAct, is_applied: Option<bool>, witness: Witness) -> Follows {
    match (act, is_applied, witness) {
        (MigrationAct::Up, Some(true), _) => Follows::Verify,
        (MigrationAct::Down, Some(false), _) => Follows::Stands(MigrationStand::Done),
        (MigrationAct::Up | MigrationAct::Down, Some(_), Witness::Runner) => {
            Follows::Fails(MigrationStand::Failed)
        }
        // That it went is no fault of the release: it may be begun again.
        _ => Follows::Fails(MigrationStand::Unknown),
    }
}

/// One that was applied and is not as it should be, after its `down`, if anybody saw its end.
pub fn after_taking_back(down: Option<&End>) -> MigrationStand {
    match down {
        Some(End::Exited(0)) => MigrationStand::Failed,
        _ => MigrationStand::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MigrationAct::{Contract, Down, Status, Up};
    use MigrationStand::{Done, Failed, NotStarted, Unknown};

    #[test]
    fn an_end_means_what_it_says() {
        let not_started = || End::NotStarted("no such user".to_owned());
        let table = [
            (Status, not_started(), Follows::Fails(NotStarted)),
            (Status, End::Exited(0), Follows::Stands(Done)),
            (Status, End::Exited(1), Follows::Stands(NotStarted)),
            (Status, End::Exited(2), Follows::Fails(Unknown)),
            (Status, End::Killed(9), Follows::Fails(Unknown)),
            (Status, End::TimedOut, Follows::Fails(Unknown)),
            (Up, not_started(), Follows::Fails(NotStarted)),
            (Up, End::Exited(0), Follows::Verify),
            (Up, End::Exited(1), Follows::Fails(Failed)),
            (Up, End::Killed(9), Follows::Ask),
            (Up, End::TimedOut, Follows::Ask),
            (Down, not_started(), Follows::Fails(NotStarted)),
            (Down, End::Exited(0), Follows::Stands(Done)),
            (Down, End::Exited(1), Follows::Fails(Failed)),
            (Down, End::Killed(15), Follows::Ask),
            (Down, End::TimedOut, Follows::Ask),
            (Contract, not_started(), Follows::Fails(NotStarted)),
            (Contract, End::Exited(0), Follows::Stands(Done)),
            (Contract, End::Exited(1), Follows::Fails(Failed)),
            (Contract, End::Killed(9), Follows::Ask),
            (Contract, End::TimedOut, Follows::Ask),
        ];
        for (act, end, follows) in table {
            assert_eq!(after(act, &end), follows, "{act} {end:?}");
        }
    }

    #[test]
    fn what_was_cut_short_is_told_by_its_status_or_by_nobody() {
        use Witness::{Nobody, Runner};
        let table = [
            (Up, Some(true), Runner, Follows::Verify),
            (Up, Some(true), Nobody, Follows::Verify),
            (Up, Some(false), Runner, Follows::Fails(Failed)),
            (Up, Some(false), Nobody, Follows::Fails(Unknown)),
            (Up, None, Runner, Follows::Fails(Unknown)),
            (Up, None, Nobody, Follows::Fails(Unknown)),
            (Down, Some(true), Runner, Follows::Fails(Failed)),
            (Down, Some(true), Nobody, Follows::Fails(Unknown)),
            (Down, Some(false), Runner, Follows::Stands(Done)),
            (Down, Some(false), Nobody, Follows::Stands(Done)),
            (Down, None, Runner, Follows::Fails(Unknown)),
            (Contract, None, Runner, Follows::Fails(Unknown)),
            (Contract, None, Nobody, Follows::Fails(Unknown)),
        ];
        for (act, is_applied, witness, follows) in table {
            assert_eq!(
                by_status(act, is_applied, witness),
                follows,
                "{act} {is_applied:?} {witness:?}"
            );
        }
        for act in MigrationAct::ALL {
            assert_eq!(is_told_by_status(act), matches!(act, Up | Down), "{act}");
        }
    }

    #[test]
    fn what_was_not_taken_back_for_certain_is_unknown() {
        assert_eq!(after_taking_back(Some(&End::Exited(0))), Failed);
        for end in [End::Exited(1), End::Killed(9), End::TimedOut] {
            assert_eq!(after_taking_back(Some(&end)), Unknown, "{end:?}");
        }
        let not_run = End::NotStarted("no such user".to_owned());
        assert_eq!(after_taking_back(Some(&not_run)), Unknown);
        assert_eq!(after_taking_back(None), Unknown);
    }
}
