//! Secrets on real agents: where they come from, where they are, and where they are not.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fleet_tests::fleet::{Ended, Fleet, PATIENCE};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::vault::Vault;
use fleet_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const NODE: &str = "n01";
const TOKEN: &str = "token-of-this-node";
/// Nothing else in a fleet looks like these.
const IN_ENV: &str = "Qz7-in-the-environment.*[";
const IN_FILE: &str = "Qz7-in-a-file";
const STRATEGY: &str = "[strategy]\nretries = 0\n";

struct Bench {
    fleet: Fleet,
    out: PathBuf,
    /// All that an operator was told.
    said: std::cell::RefCell<String>,
}

impl Bench {
    fn new(secrets: impl FnOnce(&Path) -> String) -> Self {
        let mut fleet = Fleet::start(1).unwrap();
        let out = fleet.root().join("out");
        std::fs::create_dir(&out).unwrap();
        let config = fleet.node(NODE).unwrap().config.clone();
        let text = std::fs::read_to_string(&config).unwrap();
        let text = format!("{text}\n{}", secrets(fleet.root()));
        std::fs::write(&config, text).unwrap();
        fleet.stop_agent(NODE).unwrap();
        fleet.start_agent(NODE).unwrap();
        fleet.wait_until_connected().unwrap();
        Self {
            fleet,
            out,
            said: std::cell::RefCell::default(),
        }
    }

    /// A component that writes down its variable and is told nothing else.
    fn piece(&self, name: &'static str, secret: &str, more: &str) -> Piece {
        let out = self.out.join(name);
        let run = format!(
            "kind = \"supervise\"\ncommand = [\"sh\", \"-c\", \"{more}echo $$PASSWORD >$$OUT; exec sleep 1000\"]\n\
             env = {{ OUT = \"{}\" }}\n{secret}",
            out.display()
        );
        Piece::new(name, run).with("name", name)
    }

    fn push(&self, version: &str, mut pieces: Vec<Piece>, settings: &str) {
        pieces.last_mut().unwrap().run.push_str(settings);
        push(&self.fleet, version, "10s", &pieces).unwrap();
    }

    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let ended = self.fleet.ctl(arguments).unwrap();
        self.took(&ended, arguments, code)
    }

    fn agent(&self, arguments: &[&str], code: i32) -> String {
        let ended = self.fleet.agent(NODE, arguments).unwrap();
        self.took(&ended, arguments, code)
    }

    fn took(&self, ended: &Ended, arguments: &[&str], code: i32) -> String {
        let said = format!("{}{}", ended.stdout, ended.stderr);
        self.said.borrow_mut().push_str(&said);
        assert_eq!(
            ended.code,
            code,
            "{arguments:?}: {said}\n{}",
            self.fleet.log(NODE)
        );
        said
    }

    fn wrote(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.out.join(name)).unwrap_or_default();
        text.trim().to_owned()
    }

    fn pid(&self, name: &str) -> i32 {
        let look = || {
            let status = self.agent(&["status", "--output", "json"], 0);
            let status: Value = serde_json::from_str(&status).ok()?;
            let components = status["apps"][0]["components"].as_array()?.clone();
            let own = components
                .iter()
                .find(|component| component["component"] == name)?;
            i32::try_from(own["pid"].as_i64()?).ok()
        };
        wait_for("the component to run", PATIENCE, look).unwrap()
    }

    fn state(&self) -> PathBuf {
        self.fleet.node(NODE).unwrap().state.clone()
    }

    fn handed(&self) -> PathBuf {
        self.state().join("apps/shop/current/handed")
    }
}

fn wanted(name: &str, from: &str, key: &str, given: &str) -> String {
    format!("[[component.secret]]\nname = \"{name}\"\nfrom = \"{from}\"\nkey = \"{key}\"\nas = \"{given}\"\n")
}

fn check(script: &str) -> String {
    format!(
        "[[component.check]]\nname = \"asks\"\nkind = \"exec\"\ninterval = \"100ms\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n"
    )
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files.extend(files_below(&path)),
            kind if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    files
}

fn holds(bytes: &[u8], marker: &str) -> bool {
    bytes
        .windows(marker.len())
        .any(|window| window == marker.as_bytes())
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// By a directory of files, and by a command.
fn from_files_and_a_command(root: &Path) -> String {
    let directory = root.join("secrets");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("db"), format!("{IN_ENV}\n")).unwrap();
    std::fs::write(directory.join("tls"), IN_FILE).unwrap();
    format!(
        "[secrets.files]\nkind = \"file\"\npath = \"{0}\"\n\
         [secrets.helper]\nkind = \"exec\"\ncommand = [\"cat\", \"{0}/${{key}}\"]\n",
        directory.display()
    )
}

#[test]
fn a_secret_is_where_it_must_be_and_nowhere_else() {
    let bench = Bench::new(from_files_and_a_command);
    let secrets = wanted("PASSWORD", "files", "db", "env") + &wanted("tls.key", "helper", "tls", "file");
    let with_file = "cp ${secret.tls.key} $$OUT-file; echo ${secret.tls.key} >$$OUT-path; ";
    let piece = |more: &str, script: &str| bench.piece("web", &format!("{secrets}{}", check(script)), more);
    let up = |script: &str| format!("[migrations]\nup = [\"sh\", \"-c\", \"{script}\"]\n");
    let well = "test -n \\\"$$PASSWORD\\\"";
    bench.push(
        "v1.0.0",
        vec![piece(with_file, well)],
        &format!("{}{STRATEGY}", up("echo $$PASSWORD >$$OUT-migrated")),
    );
    bench.ends(&["rollout", "v1.0.0"], 0);
    assert_eq!(bench.wrote("web"), IN_ENV);
    assert_eq!(bench.wrote("web-migrated"), IN_ENV);
    assert_eq!(bench.wrote("web-file"), IN_FILE);
    let path = PathBuf::from(bench.wrote("web-path"));
    assert_eq!(path, bench.handed().join("secrets/web/tls.key"));
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&bench.handed().join("kept")), 0o700);
    // What tells it tells nobody: an app that ends, a check, a migration.
    let tells = "echo the password is $$PASSWORD >&2; exit 3";
    bench.push("v1.1.0", vec![piece(&format!("{tells}; "), "false")], STRATEGY);
    let said = bench.ends(&["rollout", "v1.1.0"], 1);
    assert!(said.contains("the password is [redacted]"), "{said}");
    bench.push("v1.2.0", vec![piece("", tells)], STRATEGY);
    let said = bench.ends(&["rollout", "v1.2.0"], 1);
    assert!(said.contains("the password is [redacted]"), "{said}");
    bench.push(
        "v1.3.0",
        vec![piece("", well)],
        &format!("{}{STRATEGY}", up(tells)),
    );
    let said = bench.ends(&["rollout", "v1.3.0"], 1);
    assert!(
        said.contains("up exited with code 3: the password is [redacted]"),
        "{said}"
    );
    bench.agent(&["status"], 0);
    bench.agent(&["releases"], 0);
    bench.ends(&["events"], 0);

    for marker in [IN_ENV, IN_FILE] {
        assert!(!bench.said.borrow().contains(marker));
        let own = bench.state();
        let may_hold = |path: &Path| {
            let text = path.strip_prefix(&own).unwrap_or(path).display().to_string();
            let is_handed =
                text.contains("/handed/") && (text.contains("/kept/") || text.contains("/secrets/"));
            // What an app writes to its own output is its own, and stays there.
            is_handed || text.ends_with("/log") || text.ends_with("/log.1")
        };
        let places = [
            bench.fleet.coordinator_directory(),
            bench.fleet.root().join("logs"),
            own.clone(),
        ];
        let files: Vec<PathBuf> = places.iter().flat_map(|place| files_below(place)).collect();
        assert!(files.len() > 20 && files.iter().any(|path| path.ends_with("run/web/spec.json")));
        for path in files.iter().filter(|path| !may_hold(path)) {
            let bytes = std::fs::read(path).unwrap_or_default();
            assert!(!holds(&bytes, marker), "{marker} is in {}", path.display());
        }
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            assert!(!holds(&command, marker), "{marker} in {}", entry.path().display());
        }
        let kept = files_below(&own.join("apps/shop/handed"));
        assert!(
            kept.iter()
                .any(|path| holds(&std::fs::read(path).unwrap(), marker))
        );
        for path in kept.iter().filter(|path| may_hold(path)) {
            assert_eq!(mode(path), 0o600, "{}", path.display());
        }
    }
}

fn of_vault(vault: &Vault, root: &Path) -> String {
    let token = root.join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    format!(
        "[secrets.vault]\nkind = \"vault\"\naddress = \"{}\"\ntoken_file = \"{}\"\ntimeout = \"1s\"\n",
        vault.address(),
        token.display()
    )
}

#[test]
fn what_vault_does_not_give_moves_nobody_and_what_it_gave_is_kept() {
    let mut vault = Vault::start(TOKEN).unwrap();
    vault.put("shop/db", "password", "first-password");
    vault.put("shop/mail", "password", "mail-password");
    let mut bench = Bench::new(|root| of_vault(&vault, root));
    let pieces = |bench: &Bench, key: &str| {
        vec![
            bench.piece("web", &wanted("PASSWORD", "vault", key, "env"), ""),
            bench.piece(
                "mail",
                &wanted("PASSWORD", "vault", "shop/mail#password", "env"),
                "",
            ),
        ]
    };
    bench.push("v1.0.0", pieces(&bench, "shop/db#password"), STRATEGY);
    bench.ends(&["rollout", "v1.0.0"], 0);
    assert_eq!(
        (bench.wrote("web"), bench.wrote("mail")),
        ("first-password".into(), "mail-password".into())
    );
    let (web, mail) = (bench.pid("web"), bench.pid("mail"));

    let token = bench.fleet.root().join("token");
    let refused = |bench: &Bench, version: &str, key: &str, why: &str| {
        bench.push(version, pieces(bench, key), STRATEGY);
        let said = bench.ends(&["rollout", version, "--supersede"], 1);
        assert!(said.contains(why), "{why}: {said}");
        let named = format!("the secret PASSWORD cannot be had: {key} of the provider vault");
        assert!(said.contains(&named), "{said}");
        assert_eq!((bench.pid("web"), bench.pid("mail")), (web, mail));
    };
    refused(&bench, "v1.1.0", "shop/none#password", "has no such secret (404)");
    refused(&bench, "v1.2.0", "shop/db#user", "no such field in it");
    refused(&bench, "v1.3.0", "shop/db", "Vault's keys are PATH#FIELD");
    std::fs::write(&token, "another").unwrap();
    refused(
        &bench,
        "v1.4.0",
        "shop/db#password",
        "refuses this node's token (403)",
    );
    std::fs::write(&token, TOKEN).unwrap();
    vault.be_slow(true);
    refused(&bench, "v1.5.0", "shop/db#password", "gave no answer within 1s");
    vault.be_slow(false);

    // Another secret restarts who has it, with the next release and not before.
    vault.put("shop/db", "password", "second-password");
    assert_eq!(bench.pid("web"), web);
    bench.push("v2.0.0", pieces(&bench, "shop/db#password"), STRATEGY);
    bench.ends(&["rollout", "v2.0.0", "--supersede"], 0);
    assert_eq!(bench.wrote("web"), "second-password");
    assert_eq!(bench.pid("mail"), mail);
    bench.push(
        "v2.1.0",
        vec![bench.piece("web", &check("false"), "exit 3; ")],
        STRATEGY,
    );

    // With neither Vault nor coordinator in reach: back with what was kept.
    vault.go_away();
    std::fs::remove_file(bench.out.join("web")).unwrap();
    bench.ends(&["rollout", "v2.1.0"], 1);
    wait_for("the way back", PATIENCE, || {
        (bench.wrote("web") == "second-password").then_some(())
    })
    .unwrap();
    bench.fleet.kill_coordinator().unwrap();
    bench.fleet.stop_agent(NODE).unwrap();
    bench.agent(&["rollback"], 0);
    assert_eq!(bench.wrote("web"), "first-password");

    // As after a boot: nothing runs, and what was kept is all there is.
    for component in ["web", "mail"] {
        let run = bench.state().join("apps/shop/run").join(component);
        let state: Value = serde_json::from_slice(&std::fs::read(run.join("state.json")).unwrap()).unwrap();
        for pid in [&state["keeper"]["pid"], &state["app"]["pid"]] {
            let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
            let _gone_with_its_keeper = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::fs::remove_file(bench.out.join(component)).unwrap();
    }
    bench.fleet.start_agent(NODE).unwrap();
    for (component, password) in [("web", "first-password"), ("mail", "mail-password")] {
        wait_for(component, PATIENCE, || {
            (bench.wrote(component) == password).then_some(())
        })
        .unwrap();
    }
}

#[test]
fn a_role_logs_in_and_a_provider_that_is_not_there_is_named() {
    let vault = Vault::start(TOKEN).unwrap();
    vault.allow_role("shop", "secret-of-the-role", "token-of-the-role");
    vault.put("shop/db", "password", "by-its-role");
    let bench = Bench::new(|root| {
        let secret = root.join("secret-id");
        std::fs::write(&secret, "secret-of-the-role\n").unwrap();
        format!(
            "[secrets.vault]\nkind = \"vault\"\naddress = \"{}\"\nrole_id = \"shop\"\nsecret_id_file = \"{}\"\n",
            vault.address(),
            secret.display()
        )
    });
    let piece = |from: &str| bench.piece("web", &wanted("PASSWORD", from, "shop/db#password", "env"), "");
    bench.push("v1.0.0", vec![piece("vault")], STRATEGY);
    bench.ends(&["rollout", "v1.0.0"], 0);
    assert_eq!(bench.wrote("web"), "by-its-role");
    assert_eq!(vault.reads(), 1);
    let first = bench.pid("web");
    bench.push("v1.1.0", vec![piece("other")], STRATEGY);
    let said = bench.ends(&["rollout", "v1.1.0"], 1);
    assert!(said.contains("this node has no such provider"), "{said}");
    assert_eq!(bench.pid("web"), first);
}

#[test]
fn a_vault_behind_tls_is_believed_by_its_authority_and_by_nothing_else() {
    let (vault, stranger) = (
        Vault::start_with_tls(TOKEN).unwrap(),
        Vault::start_with_tls(TOKEN).unwrap(),
    );
    for vault in [&vault, &stranger] {
        vault.put("shop/db", "password", "over-tls");
    }
    let bench = Bench::new(|root| {
        let (token, ca) = (root.join("token"), root.join("vault-ca.pem"));
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::write(&ca, vault.authority()).unwrap();
        let provider = |name: &str, vault: &Vault| {
            format!(
                "[secrets.{name}]\nkind = \"vault\"\naddress = \"{}\"\ntoken_file = \"{}\"\nca = \"{}\"\n",
                vault.address(),
                token.display(),
                ca.display()
            )
        };
        provider("vault", &vault) + &provider("stranger", &stranger)
    });
    let piece = |from: &str| bench.piece("web", &wanted("PASSWORD", from, "shop/db#password", "env"), "");
    bench.push("v1.0.0", vec![piece("vault")], STRATEGY);
    bench.ends(&["rollout", "v1.0.0"], 0);
    assert_eq!(bench.wrote("web"), "over-tls");
    bench.push("v1.1.0", vec![piece("stranger")], STRATEGY);
    let said = bench.ends(&["rollout", "v1.1.0"], 1);
    assert!(
        said.contains("cannot be reached: invalid peer certificate"),
        "{said}"
    );
    // Who is not believed is told nothing, not even the token.
    assert_eq!((vault.reads(), stranger.reads()), (1, 0));
}
