//! Figures, alerts and dashboards as they are shipped, with the tools that will read them.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::layers::workspace;
use fleet_tests::monitoring::{Prometheus, Tools, get};
use fleet_tests::port::Port;
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;
use serde_json::Value;

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

/// A test that has no tools says so; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test has to say that it was")]
fn tools() -> Option<Tools> {
    let tools = Tools::find().unwrap();
    if tools.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must try metrics and alerts (make monitoring-tools)"
        );
        eprintln!("skipped: metrics and alerts need Prometheus's tools (make monitoring-tools)");
    }
    tools
}

fn packaged(path: &str) -> PathBuf {
    workspace().join("packaging").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(packaged(path)).unwrap()
}

fn rules() -> String {
    read("prometheus/fleet.rules.yml")
}

fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(packaged("grafana")).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    let dashboards: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    assert_eq!(dashboards.len(), 2);
    dashboards
}

fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

/// All words in a text that are names of Fleet's figures.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words
        .filter(|word| word.starts_with("fleet_"))
        .map(str::to_owned)
        .collect()
}

/// The names of all samples.
fn exported(text: &str) -> BTreeSet<String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect()
}

/// Only the expressions: prose may name what it likes.
fn expressions_of_rules() -> String {
    let rules = rules();
    let groups = rules.split("expr:").skip(1);
    let expressions = groups.filter_map(|after| after.split("labels:").next());
    expressions.collect::<Vec<_>>().join("\n")
}

fn coordinator_port(fleet: &Fleet) -> u16 {
    let endpoints = fleet.endpoints().unwrap();
    let http = endpoints["http"].as_str().unwrap();
    http.rsplit(':').next().unwrap().parse().unwrap()
}

/// Has the node's agent show its figures.
fn listen_for_probes(fleet: &mut Fleet, name: &str) -> Port {
    let port = Port::reserve().unwrap();
    let config = fleet.node(name).unwrap().config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    let text = format!("health_listen = \"127.0.0.1:{port}\"\n{text}");
    std::fs::write(&config, text).unwrap();
    fleet.stop_agent(name).unwrap();
    fleet.start_agent(name).unwrap();
    fleet.wait_until_connected().unwrap();
    port
}

#[test]
fn what_is_shipped_passes_its_own_tools() {
    let Some(tools) = tools() else { return };
    let path = |path: &str| packaged(path).display().to_string();
    let rules_file = path("prometheus/fleet.rules.yml");
    tools.run("promtool", &["check", "rules", &rules_file]).unwrap();
    let test = path("prometheus/fleet.rules.test.yml");
    tools.run("promtool", &["test", "rules", &test]).unwrap();
    let scrape = path("prometheus/scrape.yml");
    tools
        .run("promtool", &["check", "config", "--syntax-only", &scrape])
        .unwrap();
    let route = path("alertmanager/route.yml");
    tools.run("amtool", &["check-config", &route]).unwrap();
}

#[test]
fn every_alert_says_how_bad_it_is_what_to_do_and_is_tried() {
    let (rules, tests) = (rules(), read("prometheus/fleet.rules.test.yml"));
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 20, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let is_graded = alert.contains("severity: critical") || alert.contains("severity: warning");
        assert!(is_graded && alert.contains("summary:"), "{name}");
        let commands = ["`fleetctl ", "`fleet-agent ", "`systemctl "];
        assert!(
            commands.iter().any(|command| alert.contains(command)),
            "{name} names no command"
        );
        // Both ways: where it has samples, and where it has none.
        let expected = format!("alertname=\"{name}\", alertstate=\"firing\", ");
        let quiet = format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}}' }}");
        assert!(tests.contains(&expected), "{name} is never seen to fire");
        assert!(tests.contains(&quiet), "{name} is never seen to be quiet");
    }
}

#[test]
fn figures_have_the_names_by_which_they_are_asked_for() {
    let Some(tools) = tools() else { return };
    let mut fleet = Fleet::start(1).unwrap();
    let agent = listen_for_probes(&mut fleet, "n01");
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    let out = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(out.code, 0, "{}", out.stderr);

    let mut names = BTreeSet::new();
    for port in [coordinator_port(&fleet), agent.number()] {
        let (head, text) = get(port, "/metrics", "text/plain").unwrap();
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        assert_eq!(tools.check_metrics(&text).unwrap(), "", "{text}");
        names.extend(exported(&text));
        let (head, open) = get(port, "/metrics", OPEN_METRICS).unwrap();
        assert!(head.contains("application/openmetrics-text"), "{head}");
        assert!(open.ends_with("# EOF\n") && exported(&open) == exported(&text));
    }
    let mut asked_for = vec![("rules".to_owned(), expressions_of_rules())];
    for (file, dashboard) in dashboards() {
        asked_for.push((file.clone(), expressions(&dashboard).join("\n")));
        asked_for.push((file, dashboard["templating"].to_string()));
    }
    for (file, text) in asked_for {
        let unknown: Vec<String> = named(&text).difference(&names).cloned().collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

#[test]
fn dashboards_ask_what_can_be_asked() {
    let Some(tools) = tools() else { return };
    let mut rules = "groups:\n  - name: dashboards\n    rules:\n".to_owned();
    let mut count = 0;
    for (file, dashboard) in dashboards() {
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39, "{file}");
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert!(
            variables.iter().any(|variable| variable["type"] == "datasource"),
            "{file}"
        );
        for panel in dashboard["panels"].as_array().unwrap() {
            let source = &panel["datasource"]["uid"];
            assert!(
                panel["type"] == "row" || source == "${datasource}",
                "{file}: {panel}"
            );
        }
        for expression in expressions(&dashboard) {
            // Grafana fills it in.
            let expression = expression.replace("$__rate_interval", "1m");
            count += 1;
            let expression = serde_json::to_string(&expression).unwrap();
            rules.push_str(&format!(
                "      - record: panel:{count}\n        expr: {expression}\n"
            ));
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dashboards.yml");
    std::fs::write(&file, rules).unwrap();
    tools
        .run("promtool", &["check", "rules", &file.display().to_string()])
        .unwrap();
}

#[test]
fn an_agent_says_how_its_apps_do() {
    let mut fleet = Fleet::start(1).unwrap();
    let agent = listen_for_probes(&mut fleet, "n01");
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    assert_eq!(fleet.ctl(&["rollout", "v1.0.0"]).unwrap().code, 0);
    let text = || get(agent.number(), "/metrics", "text/plain").unwrap().1;
    for line in [
        "fleet_agent_connected 1",
        "fleet_agent_coordinator_silent_seconds 0",
        "fleet_agent_app_phase{app=\"shop\",phase=\"done\"} 1",
        "fleet_agent_app_healthy{app=\"shop\"} 1",
        "fleet_agent_check_passing{app=\"shop\",check=\"web/health\"} 1",
        "fleet_agent_component_restarts_total{app=\"shop\",component=\"web\"} 0",
        "fleet_agent_releases{app=\"shop\"} 1",
        "fleet_agent_step_phase_seconds_count{phase=\"verifying\"} 1",
    ] {
        wait_for(line, PATIENCE, || {
            text().lines().any(|found| found == line).then_some(())
        })
        .unwrap();
    }
    fleet.kill_coordinator().unwrap();
    wait_for("the agent to miss its coordinator", PATIENCE, || {
        text().contains("fleet_agent_connected 0").then_some(())
    })
    .unwrap();
    let silent = text();
    let silent = silent
        .lines()
        .find_map(|line| line.strip_prefix("fleet_agent_coordinator_silent_seconds "));
    assert!(silent.unwrap().parse::<f64>().unwrap() < PATIENCE.as_secs_f64());
}

/// As shipped, but for how long things last: an alert of two minutes would take that long to
/// try. `for` becomes a second, and a failure is news for thirty seconds and not for 900.
fn impatient(rules: &str) -> String {
    let lines = rules.lines().map(|line| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s"),
        _ => line.replace("< 900", "< 30"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn alerts_fire_when_a_release_is_bad_and_a_node_is_gone_and_are_over_again() {
    let Some(tools) = tools() else { return };
    let mut fleet = Fleet::start(2).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    assert_eq!(fleet.ctl(&["rollout", "v1.0.0"]).unwrap().code, 0);
    fleet.push("v2.0.0", Behaviour::Sick).unwrap();
    let agent = listen_for_probes(&mut fleet, "n01");
    let jobs = [
        ("fleet-coordinator", coordinator_port(&fleet)),
        ("fleet-agent", agent.number()),
    ];
    let directory = fleet.root().join("prometheus");
    let prometheus = Prometheus::start(&tools, &directory, &impatient(&rules()), &jobs).unwrap();
    // It asks for OpenMetrics first, and reads that without a word.
    let scraped = wait_for("both to be scraped", PATIENCE, || {
        Some(prometheus.targets()).filter(|targets| targets.len() == jobs.len())
    });
    let scraped = scraped.unwrap_or_else(|error| unreachable!("{error}: {}", prometheus.log()));
    assert!(scraped.iter().all(|(_, error)| error.is_empty()), "{scraped:?}");
    for series in [
        "fleet_build_info",
        "fleet_driver_turn_seconds_bucket",
        "fleet_events_total",
        "fleet_agent_ledger_write_seconds_bucket",
    ] {
        wait_for(series, PATIENCE, || prometheus.has_samples(series).then_some(())).unwrap();
    }
    let wait_until = |alert: &str, is_firing: bool| {
        let what = format!("{alert} to be {}", if is_firing { "there" } else { "over" });
        let seen = wait_for(&what, PATIENCE, || {
            (prometheus.is_firing(alert)? == is_firing).then_some(())
        });
        assert!(seen.is_ok(), "{what}: {}", prometheus.log());
    };
    for alert in [
        "FleetRolloutFailed",
        "FleetNodeUnreachable",
        "FleetCoordinatorDown",
    ] {
        wait_until(alert, false);
    }

    // Beside it: the alert may be over before the way back is.
    let mut bad = fleet
        .ctl_beside(&["rollout", "v2.0.0", "--waves", "50,100"])
        .unwrap();
    wait_until("FleetRolloutFailed", true);
    assert_eq!(bad.wait().unwrap().code(), Some(1));
    let (_, text) = get(coordinator_port(&fleet), "/metrics", "text/plain").unwrap();
    for line in [
        "fleet_step_failures_total{class=\"release\"} 1",
        "fleet_rollouts{app=\"shop\",environment=\"dev\",state=\"failed\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }

    fleet.kill_agent("n02").unwrap();
    wait_until("FleetNodeUnreachable", true);
    fleet.start_agent("n02").unwrap();
    wait_until("FleetNodeUnreachable", false);

    wait_until("FleetRolloutFailed", false);

    // What is read from the state is the same after a restart.
    let of_rollouts = |fleet: &Fleet| {
        let (_, text) = get(coordinator_port(fleet), "/metrics", "text/plain").unwrap();
        let lines = text.lines().filter(|line| line.starts_with("fleet_rollout"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = of_rollouts(&fleet);
    fleet.kill_coordinator().unwrap();
    wait_until("FleetCoordinatorDown", true);
    fleet.start_coordinator().unwrap();
    assert_eq!(of_rollouts(&fleet), before);
}
