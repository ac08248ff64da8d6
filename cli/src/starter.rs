//! A first `fleet.toml`, guessed from what lies in the directory.

use std::path::Path;

/// What an app seems to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// For people: `a Node.js app (package.json)`.
    pub what: &'static str,
    component: &'static str,
    path: &'static str,
    run: Run,
    remark: &'static str,
}

/// Who runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// The agent, this command.
    Agent(&'static str),
    /// The node's pm2, what the ecosystem file says.
    Pm2,
}

const GUESSES: [(&str, Found); 7] = [
    (
        "ecosystem.config.js",
        Found {
            what: "a pm2 app (ecosystem.config.js)",
            component: "web",
            path: ".",
            run: Run::Pm2,
            remark: "The node's own pm2 runs the apps of ecosystem.config.js",
        },
    ),
    (
        "package.json",
        Found {
            what: "a Node.js app (package.json)",
            component: "web",
            path: ".",
            run: Run::Agent(r#"["node", "server.js"]"#),
            remark: "the script that `npm start` runs; `npm ci --omit=dev` before a push keeps it small",
        },
    ),
    (
        "Cargo.toml",
        Found {
            what: "a Rust app (Cargo.toml)",
            component: "server",
            path: "target/release/server",
            run: Run::Agent(r#"["./server"]"#),
            remark: "the binary that `cargo build --release` makes; its name goes into `path` and `command`",
        },
    ),
    (
        "go.mod",
        Found {
            what: "a Go app (go.mod)",
            component: "server",
            path: "bin/server",
            run: Run::Agent(r#"["./server"]"#),
            remark: "the binary that `go build -o bin/server` makes",
        },
    ),
    (
        "pyproject.toml",
        Found {
            what: "a Python app (pyproject.toml)",
            component: "web",
            path: ".",
            run: Run::Agent(r#"["python3", "-m", "app"]"#),
            remark: "the module that is run; its packages must be on the node or in the directory",
        },
    ),
    (
        "dist",
        Found {
            what: "something that was built (dist)",
            component: "web",
            path: "dist",
            run: Run::Agent(r#"["./server"]"#),
            remark: "the program within dist",
        },
    ),
    (
        "build",
        Found {
            what: "something that was built (build)",
            component: "web",
            path: "build",
            run: Run::Agent(r#"["./server"]"#),
            remark: "the program within build",
        },
    ),
];

const NOTHING: Found = Found {
    what: "nothing that it knows",
    component: "web",
    path: "dist",
    run: Run::Agent(r#"["./server"]"#),
    remark: "the program that is run, within `path`",
};

pub fn look(directory: &Path) -> Found {
    let guess = GUESSES.iter().find(|(name, _)| directory.join(name).exists());
    guess.map_or(NOTHING, |(_, found)| found.clone())
}

pub fn write(app: &str, found: &Found) -> String {
    let Found {
        component,
        path,
        run,
        remark,
        ..
    } = found;
    let run = match run {
        Run::Agent(command) => by_agent(app, command, remark),
        Run::Pm2 => by_pm2(remark),
    };
    format!(
        r#"# How {app} is released. `fleetctl release push v1.0.0` reads this file.
[app]
name = "{app}"

# One deployable part: its files, how it runs, how one knows that it is well.
[[component]]
name = "{component}"
# A file or a directory, from here. All of it goes to every node and stays with the coordinator,
# .git and .env files too: name a directory that holds only what runs.
path = "{path}"
# Or one for each platform:
# platforms = {{ "linux/amd64" = "dist/amd64", "linux/arm64" = "dist/arm64" }}

{run}
# A configuration file with such words, filled in on the node; the process finds it in ${{config}}.
# [[component.file]]
# template = "deploy/app.conf"
# path = "app.conf"
# mode = "0640"

# What no release may say: where the node has it from ([secrets.vault] in its agent.toml), and how
# the process gets it: as "env", as "file" (${{secret.NAME}} is its path), or as "credential".
# [[component.secret]]
# name = "DATABASE_URL"
# from = "vault"
# key = "{app}/db#url"
# as = "env"

# A node is verified when all checks pass for `min_healthy` without a break.
[[component.check]]
name = "health"
kind = "http"                     # http, tcp, exec or process
interval = "1s"
timeout = "2s"
url = "http://127.0.0.1:${{var.port}}/health"
status = 200
# json = {{ status = "healthy" }}   # fields that the answer must have
# latency_max = "500ms"

# Looked at once on each node of a wave, when its bake is over.
# [[component.smoke]]
# name = "login"
# kind = "exec"
# command = ["./smoke", "login"]
# timeout = "30s"

# Hooks: before its process is stopped, after it is started, and when it is verified; each may be run
# again.
# [component.hooks]
# drain = {{ command = ["./lb", "remove", "${{node}}"], timeout = "2m" }}
# pre_stop = {{ command = ["./flush"] }}
# post_start = {{ command = ["./warm-up"] }}
# undrain = {{ command = ["./lb", "add", "${{node}}"] }}

[health]
min_healthy = "10s"
healthy_deadline = "5m"
# failures = 3                    # so many in a row fail a node that was healthy
# restarts = 3                    # so many restarts are a restart loop
# cpu = 90                        # percent of the node that one component may take
# memory = 90
# error_rate = 5                  # percent of recent checks
# response_time = "2s"            # 95th percentile
# confirm = "30s"                 # a node that no longer reaches a coordinator goes back

# How it wants to go out; flags of `fleetctl rollout` override it.
[strategy]
waves = "10,50,100"
bake = ["1m"]                     # watched so long after each wave; the last one repeats
max_unavailable = "25%"
# max_in_flight = "100%"
# max_failures = 0
# max_unreachable = 0
# on_failure = "rollback"         # or "pause"

# What `${{var.NAME}}` is where the node does not say it, and what an environment lays over that.
[vars]
port = "8080"
# [environment.staging.vars]
# port = "8081"

# What it does to its database: once, on one node, before the first wave.
# [migrations]
# component = "{component}"        # in whose files; the first if none is named
# user = "{app}"                   # as whom; the agent's own user if nobody is named
# status = ["./migrate", "status"] # ends with 0: applied; with 1: not
# up = ["./migrate", "up"]
# verify = ["./migrate", "verify"]
# down = ["./migrate", "down"]    # when the release is rolled back
# [migrations.backup]
# command = ["pg_dump", "-Fc", "--file", "${{backup}}", "{app}"]
# upload = true                   # the coordinator keeps a copy
"#
    )
}

fn by_agent(app: &str, command: &str, remark: &str) -> String {
    format!(
        r#"[component.run]
# The agent runs the process itself and restarts it when it ends. Others are "systemd" (`unit`,
# and `file` to install it from the release), "pm2" (`only`, `profile`) and "static" (`root`).
kind = "supervise"
# {remark}.
# Filled in on the node: ${{node}} ${{app}} ${{version}} ${{dir}}, and ${{var.NAME}} from [vars] in
# the node's agent.toml, else from those below.
command = {command}
env = {{ PORT = "${{var.port}}" }}
stop_signal = "SIGTERM"
# Between the stop signal and SIGKILL.
grace = "10s"
# As whom (the agent's own user), where (in these files), and within which limits:
# user = "{app}"
# directory = "/var/lib/{app}"
# limits = {{ open_files = 65536, processes = 512, core = "0", address_space = "2GiB" }}
"#
    )
}

fn by_pm2(remark: &str) -> String {
    format!(
        r#"[component.run]
# {remark}. Others are
# "supervise" (`command`: the agent runs it itself), "systemd" (`unit`, and `file` to install it
# from the release) and "static" (`root`).
kind = "pm2"
# Filled in on the node: ${{node}} ${{app}} ${{version}} ${{dir}}, and ${{var.NAME}} from [vars] in
# the node's agent.toml, else from those below.
env = {{ PORT = "${{var.port}}" }}
# only = ["web"]                    # of the apps in that file
# profile = "production"            # its `env_production`
# user = "deploy"                 # whose pm2; the agent's own user if nobody is named
"#
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_found_the_file_reads() {
        let directory = tempfile::tempdir().unwrap();
        for (name, found) in &GUESSES {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            assert_eq!(look(directory.path()), *found);
            let file = directory.path().join(crate::app_file::NAME);
            std::fs::write(&file, write("shop", found)).unwrap();
            let read = crate::app_file::read(&file).unwrap();
            assert_eq!(read.app.as_str(), "shop");
            assert_eq!(read.components[0].name.as_str(), found.component);
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(look(directory.path()), NOTHING);
    }
}
