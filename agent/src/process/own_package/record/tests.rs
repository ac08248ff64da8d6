use super::*;

fn process(pid: i32) -> Process {
    Process {
        boot: "this".to_owned(),
        id: ProcessId { pid, start_ticks: 1 },
    }
}

fn package(version: &str) -> Package {
    Package {
        version: version.to_owned(),
        program: Digest::of(version.as_bytes()),
    }
}

fn at(stage: Stage) -> Record {
    Record {
        of: Digest::of(b"component"),
        file: Digest::of(b"file"),
        to: package("0.2.0"),
        from: package("0.1.0"),
        within: Span::from_secs(60),
        stage,
    }
}

fn why(text: &str, fault: Fault) -> Why {
    Why {
        text: text.to_owned(),
        fault,
    }
}

/// The former package, a way back, and an agent that is well and has reached nobody.
fn seen() -> Seen {
    Seen {
        installed: Installed::Former,
        has_way_back: true,
        agent: Some(process(1)),
        ill: None,
        reached: None,
        is_late: false,
    }
}

fn check(stage: Stage, seen: &Seen, expected: &Next) {
    let record = at(stage);
    assert_eq!(&record.next(seen), expected, "{record:?} {seen:?}");
}

#[test]
fn nothing_is_touched_before_there_is_a_way_back() {
    let without = Seen {
        has_way_back: false,
        ..seen()
    };
    check(Stage::Begun, &without, &Next::Do(Act::KeepWayBack));
    check(Stage::Begun, &seen(), &Next::Note(Stage::Installing));
    let cannot = why("the disk is full", Fault::Infrastructure);
    assert_eq!(
        at(Stage::Begun).failed(Act::KeepWayBack, cannot.clone(), Installed::Former),
        Stage::Ended(End::Untouched(cannot))
    );
}

#[test]
fn what_was_cut_short_is_installed_again() {
    let sees = |installed| Seen { installed, ..seen() };
    for (installed, expected) in [
        (Installed::Former, Next::Do(Act::Install)),
        (Installed::Neither, Next::Do(Act::Install)),
        (
            Installed::New,
            Next::Note(Stage::Trying {
                before: Some(process(1)),
            }),
        ),
    ] {
        check(Stage::Installing, &sees(installed), &expected);
    }
}

#[test]
fn only_another_agent_than_before_proves_anything() {
    let trying = || Stage::Trying {
        before: Some(process(1)),
    };
    let another = Seen {
        agent: Some(process(2)),
        ..seen()
    };
    let late = |seen: &Seen| Seen {
        is_late: true,
        ..seen.clone()
    };
    let reached = |by| Seen {
        reached: Some(process(by)),
        ..another.clone()
    };
    let gone = Seen {
        agent: None,
        ill: Some("is activating".to_owned()),
        ..seen()
    };
    let content = Next::Note(Stage::Ended(End::Content));
    let cut_off = why("the new agent reached no coordinator within 1m", Fault::CutOff);
    let not_ready = why(
        "the new agent was not ready within 1m: it is activating",
        Fault::Release,
    );
    let back = |why| Next::Note(Stage::GoingBack { why, attempts: 0 });
    for (seen, expected) in [
        (seen(), Next::Do(Act::Restart)),
        (late(&seen()), Next::Do(Act::Restart)),
        (another.clone(), Next::Wait),
        (gone.clone(), Next::Wait),
        (reached(1), Next::Wait),
        (reached(2), content.clone()),
        (late(&reached(2)), content),
        (late(&reached(1)), back(cut_off.clone())),
        (late(&another), back(cut_off)),
        (late(&gone), back(not_ready)),
    ] {
        check(trying(), &seen, &expected);
    }
    // After a power cut none of this boot was there before.
    let cut = Stage::Trying {
        before: Some(Process {
            boot: "earlier".to_owned(),
            ..process(1)
        }),
    };
    check(cut, &seen(), &Next::Wait);
}

#[test]
fn it_goes_back_until_the_former_agent_is_there() {
    let bad = || why("bad", Fault::Release);
    let going = |attempts| Stage::GoingBack { why: bad(), attempts };
    let sees = |installed| Seen { installed, ..seen() };
    let back = Next::Note(Stage::Back { why: bad() });
    for (attempts, installed, expected) in [
        (0, Installed::New, Next::Do(Act::InstallFormer)),
        (0, Installed::Neither, Next::Do(Act::InstallFormer)),
        (4, Installed::Neither, Next::Do(Act::InstallFormer)),
        (5, Installed::Neither, Next::Do(Act::PutFormerProgram)),
        (0, Installed::Former, back.clone()),
        (5, Installed::Former, back),
    ] {
        check(going(attempts), &sees(installed), &expected);
    }
    check(Stage::Back { why: bad() }, &seen(), &Next::Do(Act::Restart));
    let went = Stage::Ended(End::WentBack(bad()));
    check(went.clone(), &seen(), &Next::Over);
    assert_eq!(at(Stage::Back { why: bad() }).done(Act::Restart), Some(went));
    assert_eq!(
        at(going(5)).done(Act::PutFormerProgram),
        Some(Stage::Back { why: bad() })
    );
    assert_eq!(at(going(0)).done(Act::InstallFormer), None);
}

#[test]
fn what_fails_leads_back_or_to_an_end() {
    let failed = || why("dpkg failed", Fault::Release);
    let bad = || why("bad", Fault::CutOff);
    let both = why("bad; dpkg failed", Fault::CutOff);
    let going = |why, attempts| Stage::GoingBack { why, attempts };
    for (stage, act, installed, expected) in [
        (
            Stage::Installing,
            Act::Install,
            Installed::Neither,
            going(failed(), 0),
        ),
        (
            Stage::Installing,
            Act::Install,
            Installed::Former,
            Stage::Ended(End::Untouched(failed())),
        ),
        (
            Stage::Trying { before: None },
            Act::Restart,
            Installed::New,
            going(failed(), 0),
        ),
        (
            going(bad(), 1),
            Act::InstallFormer,
            Installed::Neither,
            going(bad(), 2),
        ),
        (
            going(bad(), 5),
            Act::PutFormerProgram,
            Installed::Neither,
            Stage::Ended(End::WentBack(both.clone())),
        ),
        (
            Stage::Back { why: bad() },
            Act::Restart,
            Installed::Former,
            Stage::Ended(End::WentBack(both)),
        ),
    ] {
        assert_eq!(
            at(stage.clone()).failed(act, failed(), installed),
            expected,
            "{stage:?}"
        );
    }
}
