//! Tables: rules, readings, and the verdict with its very words.

use super::*;
use crate::probe::Passed;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn rules() -> HealthRules {
    HealthRules {
        min_healthy: Span::from_secs(2),
        healthy_deadline: Span::from_secs(10),
        ..HealthRules::default()
    }
}

fn judge(baseline: Option<Baseline>) -> Judge {
    Judge::new(
        rules(),
        ["web/health".to_owned(), "web/process".to_owned()],
        baseline,
    )
}

fn passed(check: &str, at: Duration, latency: Option<Duration>) -> Reading {
    Reading {
        check: check.to_owned(),
        at,
        result: Ok(Passed { latency }),
    }
}

fn missed(check: &str, at: Duration) -> Reading {
    Reading {
        check: check.to_owned(),
        at,
        result: Err(Miss::against("answered 503, expected 200", "503", "200")),
    }
}

fn both_pass(judge: &mut Judge, at: Duration) {
    judge.take(&passed("web/health", at, Some(ms(5))));
    judge.take(&passed("web/process", at, None));
}

fn message(verdict: Verdict) -> String {
    match verdict {
        Verdict::Failed(finding) => finding.message,
        other => format!("{other:?}"),
    }
}

#[test]
fn verified_is_who_passes_for_long_enough_without_a_break() {
    let mut judge = judge(None);
    judge.take(&passed("web/health", ms(100), None));
    assert_eq!(
        judge.verify(ms(5000)),
        Verdict::Open,
        "one check says nothing yet"
    );
    judge.take(&passed("web/process", ms(1000), None));
    assert_eq!(judge.verify(ms(2900)), Verdict::Open);
    assert_eq!(judge.verify(ms(3000)), Verdict::Passed);
    judge.take(&missed("web/health", ms(2950)));
    judge.take(&passed("web/health", ms(3000), None));
    assert_eq!(
        judge.verify(ms(4900)),
        Verdict::Open,
        "the break begins the time anew"
    );
    assert_eq!(judge.verify(ms(5000)), Verdict::Passed);
}

#[test]
fn who_is_not_healthy_by_the_deadline_fails_with_figure_and_limit() {
    let mut judge = judge(None);
    judge.take(&passed("web/process", ms(0), None));
    judge.take(&missed("web/health", ms(9000)));
    assert_eq!(judge.verify(ms(9999)), Verdict::Open);
    let expected = Finding {
        check: "web/health".into(),
        message: "web/health did not pass within 10s (healthy_deadline): it answered 503, expected 200"
            .into(),
        figure: Some("503".into()),
        limit: Some("200".into()),
    };
    assert_eq!(judge.verify(ms(10_000)), Verdict::Failed(expected));

    both_pass(&mut judge, ms(9500));
    assert_eq!(
        message(judge.verify(ms(10_000))),
        "web/health did not pass for 2s without a break (min_healthy) within 10s (healthy_deadline)"
    );
}

#[test]
fn a_restart_loop_fails_at_once() {
    let mut judge = judge(None);
    both_pass(&mut judge, ms(0));
    judge.take_restarts("web", 2, Some("exited with code 3".into()));
    assert_eq!(judge.bake(ms(500)), Verdict::Open);
    judge.take_restarts("web", 3, Some("exited with code 3".into()));
    let expected = "web is in a restart loop: restarted 3 times since activation, the limit is 3; last it exited with code 3";
    assert_eq!(message(judge.verify(ms(500))), expected);
    assert_eq!(message(judge.bake(ms(500))), expected);
}

#[test]
fn misses_in_a_row_fail_a_bake_and_misses_apart_do_not() {
    let mut judge = judge(None);
    both_pass(&mut judge, ms(0));
    for at in 1..=2 {
        judge.take(&missed("web/health", ms(at)));
    }
    both_pass(&mut judge, ms(3));
    judge.take(&missed("web/health", ms(4)));
    assert_eq!(judge.bake(ms(4)), Verdict::Open);
    judge.take(&missed("web/health", ms(5)));
    judge.take(&missed("web/health", ms(6)));
    assert_eq!(
        message(judge.bake(ms(6))),
        "web/health failed 3 times in a row, the limit is 3: it answered 503, expected 200"
    );
}

#[test]
fn a_process_that_starts_in_the_bake_has_until_the_deadline() {
    let mut judge = judge(None);
    for at in 0..5 {
        judge.take(&missed("web/health", ms(at)));
    }
    assert_eq!(judge.bake(ms(9_999)), Verdict::Open);
    assert!(matches!(judge.bake(ms(10_000)), Verdict::Failed(_)));
}

/// Readings, of which every so-manieth fails, against a baseline.
fn rate(failing_every: u64, latency: u64, baseline: Option<Baseline>) -> String {
    let mut judge = judge(baseline);
    for count in 1..=100 {
        if failing_every > 0 && count % failing_every == 0 {
            judge.take(&missed("web/health", ms(count)));
        } else {
            judge.take(&passed("web/health", ms(count), Some(ms(latency))));
        }
    }
    judge.take(&passed("web/process", ms(100), None));
    message(judge.bake(ms(100)))
}

#[test]
fn error_rate_and_response_time_are_held_against_limits_and_the_baseline() {
    let before = |error_percent, p95| {
        Some(Baseline {
            error_percent,
            p50: Some(ms(p95 / 2)),
            p95: Some(ms(p95)),
        })
    };
    for (failing_every, latency, baseline, expected) in [
        (0, 5, None, "Open"),
        (25, 5, None, "Open"),
        (10, 5, None, "9.9% of the latest checks failed, the limit is 5.0%"),
        (
            25,
            5,
            before(1.0, 5),
            "4.0% of the latest checks failed, it was 1.0% before the switch and the limit on its rise is 2.0%",
        ),
        (25, 5, before(3.5, 5), "Open"),
        (
            0,
            2100,
            None,
            "the response time (p95) is 2s100ms (p50 2s100ms), the limit is 2s",
        ),
        (
            0,
            300,
            before(0.0, 100),
            "the response time (p95) is 300ms (p50 300ms, before the switch 50ms), it was 100ms before the switch and the limit on its rise is 200ms",
        ),
        // Twice as long, and nobody could notice.
        (0, 9, before(0.0, 2), "Open"),
    ] {
        assert_eq!(rate(failing_every, latency, baseline), expected);
    }
}

#[test]
fn a_rate_needs_as_many_failures_as_may_come_in_a_row() {
    let spotless = Baseline {
        error_percent: 0.0,
        p50: None,
        p95: None,
    };
    let mut judge = judge(Some(spotless));
    for at in 0..20 {
        both_pass(&mut judge, ms(at));
    }
    for misses in 1..=3 {
        judge.take(&missed("web/health", ms(20 + misses)));
        both_pass(&mut judge, ms(20 + misses));
        let expected = if misses < 3 {
            "Open"
        } else {
            "% of the latest checks failed"
        };
        let found = message(judge.bake(ms(30)));
        assert!(found.contains(expected), "{misses}: {found}");
    }
    judge.take_restarts("web", 1, Some("exited with code 9".into()));
    let found = message(judge.bake(ms(30)));
    assert!(
        found.ends_with("; web was restarted once, last it exited with code 9"),
        "{found}"
    );
}

#[test]
fn what_fails_while_it_starts_is_no_part_of_the_baseline() {
    let mut judge = judge(None);
    for at in 0..30 {
        judge.take(&missed("web/health", ms(at)));
    }
    for at in 30..60 {
        both_pass(&mut judge, ms(at));
    }
    assert_eq!(judge.baseline().map(|baseline| baseline.error_percent), Some(0.0));
}

#[test]
fn taking_too_much_of_the_node_for_too_long_fails() {
    let mut judge = judge(None);
    both_pass(&mut judge, ms(0));
    let greedy = Share {
        cpu: 97.0,
        memory: 10.0,
    };
    judge.take_share("web", greedy);
    judge.take_share("web", greedy);
    assert_eq!(judge.bake(ms(1)), Verdict::Open);
    judge.take_share("web", greedy);
    assert_eq!(
        message(judge.bake(ms(1))),
        "web takes 97% of the node's cpu, the limit is 90%"
    );
    let fat = Share {
        cpu: 1.0,
        memory: 95.0,
    };
    for _ in 0..3 {
        judge.take_share("web", fat);
    }
    assert_eq!(
        message(judge.bake(ms(1))),
        "web takes 95% of the node's memory, the limit is 90%"
    );
}

#[test]
fn health_is_not_known_before_it_is_and_does_not_flap() {
    let mut judge = judge(None);
    assert_eq!(judge.health(ms(0)), Health::Unknown);
    for at in 0..5 {
        judge.take(&missed("web/health", ms(at)));
    }
    assert_eq!(judge.health(ms(5)), Health::Unknown, "it is starting");
    both_pass(&mut judge, ms(6));
    assert_eq!(judge.health(ms(6)), Health::Healthy);
    judge.take(&missed("web/health", ms(7)));
    assert_eq!(judge.health(ms(7)), Health::Healthy);
    judge.take(&missed("web/health", ms(8)));
    judge.take(&missed("web/health", ms(9)));
    assert_eq!(
        judge.health(ms(9)),
        Health::Unhealthy {
            why: "web/health answered 503, expected 200".into()
        }
    );
}
