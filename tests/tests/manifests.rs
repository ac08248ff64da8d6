//! The Kubernetes manifests and the container file that are shipped: valid, and safe.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_proto::ids::EnvironmentName;
use fleet_tests::layers::workspace;
use fleet_tests::process::succeed;
use serde_json::Value;

/// The newest that is known, and what is still in use two years later.
const VERSIONS: [&str; 3] = ["1.37.0", "1.34.0", "1.31.0"];
const TO_JSON: &str =
    "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";

/// Where the tools are. A test that has none says so; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test has to say that it was")]
fn python() -> Option<PathBuf> {
    let script = workspace().join("tests/manifest-tools");
    let path = succeed(&script.to_string_lossy(), ["--path"]).unwrap();
    let python = Path::new(path.trim_end()).join("bin/python");
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must validate manifests (make manifest-tools)"
        );
        eprintln!("skipped: validating manifests needs tools (make manifest-tools)");
        return None;
    }
    Some(python)
}

fn files() -> Vec<PathBuf> {
    let directory = workspace().join("packaging/kubernetes");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files
}

/// All that is in the files, each with the file that it is in.
fn objects(python: &Path) -> Vec<(String, Value)> {
    let read = |file: &PathBuf| {
        let file = file.to_str().unwrap();
        let text = succeed(&python.to_string_lossy(), ["-c", TO_JSON, file]).unwrap();
        let objects: Vec<Value> = serde_json::from_str(&text).unwrap();
        objects
            .into_iter()
            .map(|object| {
                let place = format!("{file}: {} {}", object["kind"], object["metadata"]["name"]);
                (place, object)
            })
            .collect::<Vec<_>>()
    };
    files().iter().flat_map(read).collect()
}

#[test]
fn manifests_are_valid_in_every_version() {
    let Some(python) = python() else { return };
    for version in VERSIONS {
        let output = Command::new(&python)
            .args([
                "-m",
                "kubernetes_validate",
                "--strict",
                "--no-warn",
                "-k",
                version,
            ])
            .args(files())
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {said}");
        assert!(
            said.contains("passed for resource statefulset/fleet-coordinator"),
            "{said}"
        );
    }
    // Whoever validates nothing would find nothing.
    let broken = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(
        broken.path(),
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n",
    )
    .unwrap();
    let validated = Command::new(&python)
        .args(["-m", "kubernetes_validate", "--strict", "-k", VERSIONS[0]])
        .arg(broken.path())
        .output()
        .unwrap();
    assert!(!validated.status.success());
}

fn pod_of(object: &Value) -> Option<&Value> {
    matches!(
        object["kind"].as_str(),
        Some("StatefulSet" | "Deployment" | "DaemonSet")
    )
    .then(|| &object["spec"]["template"]["spec"])
}

/// What the names of a list's members are, or their `key`.
fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    let items = value[key].as_array();
    items.into_iter().flatten().collect()
}

#[test]
fn pods_may_do_nothing_but_their_work() {
    let Some(python) = python() else { return };
    let objects = objects(&python);
    let mut pods = 0;
    for (place, object) in &objects {
        let Some(pod) = pod_of(object) else { continue };
        pods += 1;
        assert_eq!(pod["automountServiceAccountToken"], false, "{place}");
        assert!(pod["serviceAccountName"].is_string(), "{place}");
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_ne!(pod[host], true, "{place}: {host}");
        }
        let own = &pod["securityContext"];
        assert_eq!(own["runAsNonRoot"], true, "{place}");
        assert_eq!(own["runAsUser"], 65532, "{place}");
        assert_eq!(own["seccompProfile"]["type"], "RuntimeDefault", "{place}");
        for volume in list(pod, "volumes") {
            assert!(volume["hostPath"].is_null(), "{place}: {volume}");
            let is_bounded = volume["emptyDir"].is_null() || volume["emptyDir"]["sizeLimit"].is_string();
            assert!(is_bounded, "{place}: {volume}");
        }
        let containers = [list(pod, "containers"), list(pod, "initContainers")].concat();
        for container in containers {
            a_container_is_confined(place, container);
        }
        for container in list(pod, "containers") {
            its_probes_come_from_within(place, container);
        }
    }
    assert_eq!(pods, 4);
}

fn a_container_is_confined(place: &str, container: &Value) {
    let own = &container["securityContext"];
    let expected = serde_json::json!({
        "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
        "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(*own, expected, "{place}");
    let image = container["image"].as_str().unwrap();
    let tag = image.rsplit_once(':').map(|(_, tag)| tag);
    assert!(
        tag.is_some_and(|tag| tag != "latest" && tag.starts_with(|c: char| c.is_ascii_digit())),
        "{place}: {image}"
    );
    assert!(!image.contains('/'), "{place}: {image} names somebody's registry");
    for bound in ["requests", "limits"] {
        assert!(
            container["resources"][bound]["memory"].is_string(),
            "{place}: {bound}"
        );
    }
    for port in list(container, "ports") {
        assert!(port["hostPort"].is_null(), "{place}: {port}");
    }
}

/// Invariant 19: nothing but mutual TLS, and the app itself, is reached from elsewhere.
fn its_probes_come_from_within(place: &str, container: &Value) {
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let command = list(&container[probe]["exec"], "command");
        assert!(command.iter().any(|word| *word == "health"), "{place}: {probe}");
    }
}

#[test]
fn tokens_are_for_fleet_alone_and_nobody_is_open_to_everybody() {
    let Some(python) = python() else { return };
    let objects = objects(&python);
    let mut projected = 0;
    for (place, object) in &objects {
        if object["kind"] == "ServiceAccount" {
            assert_eq!(object["automountServiceAccountToken"], false, "{place}");
        }
        let volumes = pod_of(object).map(|pod| list(pod, "volumes")).unwrap_or_default();
        for source in volumes
            .iter()
            .flat_map(|volume| list(&volume["projected"], "sources"))
        {
            projected += 1;
            assert_eq!(source["serviceAccountToken"]["audience"], "fleet", "{place}");
            assert!(
                source["serviceAccountToken"]["expirationSeconds"]
                    .as_u64()
                    .unwrap()
                    <= 3600,
                "{place}"
            );
        }
    }
    assert_eq!(projected, 2);
    let is_there = |kind: &str, name: &str| {
        objects
            .iter()
            .any(|(_, object)| object["kind"] == kind && object["metadata"]["name"] == name)
    };
    for (kind, name) in [
        ("NetworkPolicy", "fleet-coordinator"),
        ("NetworkPolicy", "shop"),
        ("PodDisruptionBudget", "fleet-coordinator"),
        ("Service", "fleet-coordinator"),
        ("Secret", "fleet-join-token"),
        ("DaemonSet", "fleet-agent"),
    ] {
        assert!(is_there(kind, name), "no {kind} {name}");
    }
}

/// The configurations in them are what the programs read.
#[test]
fn configurations_are_understood() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut read = 0;
    for (place, object) in objects(&python) {
        if let Some(text) = object["data"]["agent.toml"].as_str() {
            // In a pod the token says which node it is.
            let file = directory.path().join("agent.toml");
            std::fs::write(&file, format!("node = \"n1\"\n{text}")).unwrap();
            let config = fleet_agent::config::Config::read(&file);
            let config = config.unwrap_or_else(|error| unreachable!("{place}: {error}"));
            assert!(
                config.enrol.is_some() && config.health_listen.is_some(),
                "{place}"
            );
            read += 1;
        }
        if let Some(text) = object["data"]["coordinator.toml"].as_str() {
            let file = Path::new("/etc/fleet/coordinator.toml");
            let config = fleet_coordinator::config::Config::parse(text, file).unwrap();
            let production: EnvironmentName = "production".parse().unwrap();
            assert!(config.environments.contains_key(&production) && config.clusters.len() == 1);
            read += 1;
        }
    }
    assert_eq!(read, 4);
}

#[test]
fn images_run_as_nobody_and_come_from_no_registry_of_somebodys() {
    let file = workspace().join("packaging/container/Containerfile");
    let text = std::fs::read_to_string(file).unwrap();
    let from: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("FROM "))
        .collect();
    assert_eq!(from.len(), 3);
    for base in from {
        let image = base.split(' ').next().unwrap();
        assert!(
            !image.contains('/') && !image.ends_with(":latest") && image.contains(':'),
            "{image}"
        );
    }
    for stage in text.split("\nFROM ").skip(2) {
        assert!(stage.contains("USER 65532:65532"), "{stage}");
        // In the form that needs no shell.
        assert!(stage.contains("ENTRYPOINT [\"/usr/bin/fleet-"), "{stage}");
    }
}
