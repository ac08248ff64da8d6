//! A whole runbook: backend, sync worker and frontend, by a real pm2 and on a real PostgreSQL,
//! with a migration that is backed up, verified and taken back.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::view::BackupView;
use fleet_tests::fleet::{Ended, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;

const PG: &str = "/etc/postgresql/15/main";
/// Connects as whoever deploys, from any host.
const ENV: &str = "env = { PGHOST = \"n01\", PGUSER = \"deploy\", PGDATABASE = \"vanguard\" }\n";

struct Bench {
    fleet: HostFleet,
}

impl Bench {
    /// Two hosts that serve, the database on the first.
    fn new() -> Self {
        let fleet = HostFleet::start(2).unwrap();
        let bench = Self { fleet };
        for host in ["n01", "n02"] {
            bench.does(host, &["useradd", "--create-home", "deploy"]);
        }
        let host = bench.fleet.hosts.host("n01").unwrap();
        let own = "local all all peer\nhost all all 198.18.0.0/15 trust\n";
        host.write(&format!("{PG}/pg_hba.conf"), own.as_bytes(), 0o644)
            .unwrap();
        let listen = "listen_addresses = '*'\nfsync = on\n";
        host.write(&format!("{PG}/conf.d/fleet.conf"), listen.as_bytes(), 0o644)
            .unwrap();
        bench.does("n01", &["systemctl", "start", "postgresql@15-main"]);
        bench.does(
            "n01",
            &[
                "runuser",
                "-u",
                "postgres",
                "--",
                "createuser",
                "--createdb",
                "deploy",
            ],
        );
        bench.does(
            "n01",
            &[
                "runuser", "-u", "postgres", "--", "createdb", "-O", "deploy", "vanguard",
            ],
        );
        bench
    }

    fn on(&self, host: &str, command: &[&str]) -> Ended {
        self.fleet.hosts.host(host).unwrap().run(command).unwrap()
    }

    fn does(&self, host: &str, command: &[&str]) -> String {
        let ended = self.on(host, command);
        assert_eq!(ended.code, 0, "{command:?}: {}", ended.stderr);
        ended.stdout.trim().to_owned()
    }

    fn sql(&self, database: &str, query: &str) -> String {
        self.does(
            "n01",
            &["psql", "-h", "n01", "-U", "deploy", "-At", "-c", query, database],
        )
    }

    /// Into a database of its own, which is as the other then was.
    fn restores(&self, host: &str, file: &str) {
        let to = ["-h", "n01", "-U", "deploy", "restored"];
        self.does("n01", &[&["dropdb", "--if-exists"][..], &to].concat());
        self.does("n01", &[&["createdb"][..], &to].concat());
        let restore = [
            "pg_restore",
            "-h",
            "n01",
            "-U",
            "deploy",
            "--no-owner",
            "-d",
            "restored",
            file,
        ];
        self.does(host, &restore);
        let users = self.sql("restored", "select * from users");
        assert_eq!(users, "ann|ann@example.org|42");
    }

    fn rollout(&self, arguments: &[&str], code: i32) -> String {
        let Ended {
            stdout,
            stderr,
            code: found,
        } = self.fleet.fleet.ctl(arguments).unwrap();
        let logs = || ["n01", "n02"].map(|host| agent_log(self.fleet.hosts.host(host).unwrap()));
        assert_eq!(found, code, "{stdout}{stderr}\n{:#?}", logs());
        format!("{stdout}{stderr}")
    }

    fn asks(&self, host: &str, port: u16) -> String {
        let url = format!("http://127.0.0.1:{port}/health");
        self.does(host, &["curl", "--silent", "--max-time", "5", &url])
    }

    fn page(&self, host: &str) -> String {
        self.does(host, &["cat", "/var/www/vanguard/index.html"])
    }

    fn assert_all_run(&self, version: &str) {
        for host in ["n01", "n02"] {
            let backend = self.asks(host, 8080);
            assert!(
                backend.contains(&format!("\"version\":\"{version}\"")),
                "{host}: {backend}"
            );
            assert!(
                backend.contains("\"database\":\"connected\""),
                "{host}: {backend}"
            );
            let worker = self.asks(host, 8081);
            assert!(worker.contains(version), "{host}: {worker}");
            assert_eq!(self.page(host), version, "{host}");
        }
    }
}

/// A server that answers with what it is, as long as the query that it lives by succeeds.
fn server(version: &str, port: u16, query: &str, answer: &str) -> String {
    format!(
        "const {{ execFile }} = require('child_process');\n\
         const ask = (done) => execFile('psql', ['-At', '-c', `{query}`], (error) => done(error));\n\
         require('http').createServer((_, answer) => ask((error) => {{\n\
         \x20 if (error) console.error(String(error.message).trim());\n\
         \x20 answer.statusCode = error ? 503 : 200;\n\
         \x20 answer.end(JSON.stringify({{ version: '{version}', status: error ? 'ill' : 'healthy', {answer} }}));\n\
         }})).listen({port});\n"
    )
}

fn app(name: &'static str, port: u16, json: &str, server: String) -> Piece {
    let ecosystem = format!("module.exports = {{ apps: [{{ name: '{name}', script: './server.js' }}] }};\n");
    let run = format!(
        "kind = \"pm2\"\nuser = \"deploy\"\n{ENV}\
         [[component.check]]\nname = \"health\"\nkind = \"http\"\ninterval = \"200ms\"\ntimeout = \"5s\"\n\
         url = \"http://127.0.0.1:{port}/health\"\njson = {json}\n"
    );
    Piece::new(name, run)
        .with("server.js", server)
        .with("ecosystem.config.js", ecosystem)
}

/// What changes from release to release: the column that its migration adds, and what the
/// backend asks of the database.
struct Release {
    version: &'static str,
    column: &'static str,
    query: &'static str,
}

impl Release {
    fn pieces(&self) -> Vec<Piece> {
        let Self {
            version,
            column,
            query,
        } = self;
        let backend = server(version, 8080, query, "database: error ? 'gone' : 'connected'");
        let backend = app("backend", 8080, "{ status = \"healthy\", database = \"connected\" }", backend)
            .with(
                "sql/up.sql",
                format!(
                    "create table if not exists applied (version text primary key);\n\
                     create table if not exists users (name text);\n\
                     alter table users add column {column} text;\n\
                     insert into applied values ('{version}');\n"
                ),
            )
            .with(
                "sql/down.sql",
                format!("alter table users drop column {column};\ndelete from applied where version = '{version}';\n"),
            )
            .with(
                "sql/status",
                format!(
                    "#!/bin/sh\nset -e\n\
                     test \"$(psql -At -c \"select to_regclass('applied') is not null\")\" = t || exit 1\n\
                     test \"$(psql -At -c \"select count(*) from applied where version = '{version}'\")\" = 1\n"
                ),
            )
            .with("sql/verify", format!("#!/bin/sh\nexec psql -At -c 'select {column} from users limit 1'\n"));
        let worker = server(version, 8081, "select 1", "worker: { running: true }");
        let worker = app("worker", 8081, "{ \"worker.running\" = true }", worker);
        let migrations = format!(
            "[migrations]\ncomponent = \"backend\"\nuser = \"deploy\"\n{ENV}\
             status = [\"./sql/status\"]\n\
             up = [\"psql\", \"-1\", \"-v\", \"ON_ERROR_STOP=1\", \"-f\", \"sql/up.sql\"]\n\
             verify = [\"./sql/verify\"]\n\
             down = [\"psql\", \"-1\", \"-v\", \"ON_ERROR_STOP=1\", \"-f\", \"sql/down.sql\"]\n\
             [migrations.backup]\nupload = true\ncommand = [\"pg_dump\", \"-Fc\", \"--file\", \"${{backup}}\"]\n"
        );
        let site = format!("kind = \"static\"\nroot = \"/var/www/vanguard\"\n{migrations}");
        vec![
            backend,
            worker,
            Piece::new("frontend", site).with("index.html", *version),
        ]
    }
}

#[test]
fn backend_worker_and_frontend_go_out_and_come_back_with_their_database() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    let releases = [
        Release {
            version: "v1.0.0",
            column: "email",
            query: "select email from users",
        },
        Release {
            version: "v1.1.0",
            column: "phone",
            query: "select email, phone from users",
        },
        // Its migration is good, and what it asks for is not there.
        Release {
            version: "v1.2.0",
            column: "fax",
            query: "select telex from users",
        },
    ];
    for release in &releases {
        push(&bench.fleet.fleet, release.version, "20s", &release.pieces()).unwrap();
    }
    bench.rollout(&["rollout", "v1.0.0"], 0);
    bench.assert_all_run("v1.0.0");
    bench.sql("vanguard", "insert into users values ('ann', 'ann@example.org')");

    bench.rollout(&["rollout", "v1.1.0", "--waves", "50,100"], 0);
    bench.assert_all_run("v1.1.0");
    bench.sql("vanguard", "update users set phone = '42'");
    assert_eq!(
        bench.sql("vanguard", "select version from applied order by 1"),
        "v1.0.0\nv1.1.0"
    );

    // Bad: the nodes go back, and then the database does; nothing is lost.
    let said = bench.rollout(&["rollout", "v1.2.0"], 1);
    assert!(said.contains("backend/health"), "{said}");
    assert!(said.contains("telex"), "{said}");
    wait_for("the migration to be taken back", PATIENCE, || {
        (bench.sql("vanguard", "select version from applied order by 1") == "v1.0.0\nv1.1.0").then_some(())
    })
    .unwrap();
    bench.assert_all_run("v1.1.0");
    assert_eq!(
        bench.sql("vanguard", "select * from users"),
        "ann|ann@example.org|42"
    );

    // One backup for each change, on the node that made it; the newest restores.
    let backups = |host: &str| {
        bench
            .on(host, &["ls", "/var/lib/fleet/agent/apps/shop/backups"])
            .stdout
    };
    let all = format!("{}{}", backups("n01"), backups("n02"));
    assert_eq!(all.lines().count(), 3, "{all}");
    let host = ["n01", "n02"]
        .into_iter()
        .find(|host| backups(host).contains("-v1.2.0"))
        .unwrap();
    let file = backups(host)
        .lines()
        .find(|line| line.ends_with("-v1.2.0"))
        .unwrap()
        .to_owned();
    let file = format!("/var/lib/fleet/agent/apps/shop/backups/{file}");
    assert_eq!(bench.does(host, &["stat", "--format=%a %U", &file]), "400 deploy");
    bench.restores(host, &file);

    // The coordinator has the same, for the day on which the node is gone.
    let kept = bench.rollout(&["backups", "--output", "json"], 0);
    let kept: Vec<BackupView> = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept.len(), 3, "{kept:?}");
    let newest = kept
        .iter()
        .rfind(|kept| kept.release.version.to_string() == "v1.2.0");
    let number = newest.unwrap().rollout.0.to_string();
    let fetched = bench.fleet.fleet.root().join("fetched.dump");
    let to = fetched.display().to_string();
    bench.rollout(&["backups", "fetch", &number, "--to", &to], 0);
    let bytes = std::fs::read(fetched).unwrap();
    assert!(bench.fleet.hosts.host(host).unwrap().read(&file).unwrap() == bytes);
    let other = bench.fleet.hosts.host("n02").unwrap();
    other.write("/tmp/fetched.dump", &bytes, 0o644).unwrap();
    bench.restores("n02", "/tmp/fetched.dump");

    // Asked for by a person, and without a coordinator's help for each node.
    let said = bench.rollout(&["rollback"], 0);
    let applied = bench.sql("vanguard", "select version from applied");
    assert_eq!(applied, "v1.0.0", "{said}");
    bench.assert_all_run("v1.0.0");
    assert_eq!(
        bench.sql("vanguard", "select * from users"),
        "ann|ann@example.org"
    );
}
