//! Migrations by a tool that people use, on a real PostgreSQL: Prisma, with its own record of
//! what is applied, what failed, and what was begun.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::view::RolloutStateView;
use fleet_tests::fleet::{Ended, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;

const MIGRATIONS: &str = r#"
[migrations]
component = "backend"
user = "deploy"
status = ["./prisma/status"]
up = ["prisma", "migrate", "deploy"]
verify = ["psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-f", "prisma/verify.sql"]
down = ["psql", "-X1", "-v", "ON_ERROR_STOP=1", "-f", "prisma/down.sql"]
[migrations.env]
DATABASE_URL = "postgresql://deploy@127.0.0.1/vanguard"
PGHOST = "127.0.0.1"
PGUSER = "deploy"
PGDATABASE = "vanguard"
CHECKPOINT_DISABLE = "1"
[migrations.backup]
command = ["pg_dump", "-Fc", "--file", "${backup}"]
"#;

const SCHEMA: &str = r#"
generator client {
  provider   = "prisma-client-js"
  engineType = "client"
}
datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
"#;

/// The engine that needs no download; with Prisma's own there is nothing to say here.
const CONFIG: &str = "import { postgres } from '/usr/local/lib/prisma/postgres.mjs';\n\
                      export default { engine: 'js', experimental: { adapter: true }, adapter: postgres };\n";

/// Prisma's record is asked, and not `prisma migrate status`: that ends with 1 for whatever is
/// amiss, a database out of reach too, does not name what failed beside what is to come, and
/// takes what `prisma migrate resolve --rolled-back` took back for applied.
const STATUS: &str = r#"#!/bin/sh
# 0: all that this release brings is applied; 1: not all; 2: something was begun, and has failed
# or is at it still.
ask() { psql -XAt -c "$1"; }
record=$(ask "select to_regclass('_prisma_migrations')") || exit 2
test -n "$record" || exit 1
begun=$(ask "select migration_name from _prisma_migrations where finished_at is null and rolled_back_at is null") || exit 2
if test -n "$begun"; then
    echo "prisma has not come to the end of $begun" >&2
    exit 2
fi
for directory in prisma/migrations/*/; do
    name=$(basename "$directory")
    applied=$(ask "select count(*) from _prisma_migrations where migration_name = '$name' and rolled_back_at is null") || exit 2
    test "$applied" != 0 || exit 1
done
"#;

/// A column of `users`, and how the release comes by it.
struct Change {
    name: &'static str,
    column: &'static str,
    before: &'static str,
    after: &'static str,
}

const fn adds(name: &'static str, column: &'static str) -> Change {
    Change {
        name,
        column,
        before: "",
        after: "",
    }
}

const EMAIL: Change = Change {
    before: "create table users (name text);\n",
    ..adds("20260101000000_email", "email")
};
const PHONE: Change = adds("20260201000000_phone", "phone");
const FAX: Change = adds("20260301000000_fax", "fax");
const FAX_AND_AN_ERROR: Change = Change {
    after: "alter table customers add column fax text;\n",
    ..FAX
};
const SLOW_PHONE: Change = Change {
    before: "select pg_sleep(8);\n",
    ..PHONE
};
const SLOW_FAX: Change = Change {
    before: "select pg_sleep(8);\n",
    ..FAX
};

/// All that were ever made, as they lie in an app's repository; the last is the release's own.
/// Prisma has no way back: where there is to be one, it takes Prisma's record along.
fn backend(version: &str, changes: &[&Change]) -> Piece {
    let run = format!("kind = \"supervise\"\ncommand = [\"sleep\", \"1000\"]\n{MIGRATIONS}");
    let Change { name, column, .. } = changes.last().unwrap();
    let down = format!(
        "alter table users drop column {column};\n\
         delete from _prisma_migrations where migration_name = '{name}';\n"
    );
    let verify = format!("select {column} from users limit 1;\n");
    let piece = Piece::new("backend", run)
        .with("version", version)
        .with("prisma.config.mjs", CONFIG)
        .with("prisma/schema.prisma", SCHEMA)
        .with(
            "prisma/migrations/migration_lock.toml",
            "provider = \"postgresql\"\n",
        )
        .with("prisma/status", STATUS)
        .with("prisma/verify.sql", verify)
        .with("prisma/down.sql", down);
    changes.iter().fold(piece, |piece, change| {
        let Change {
            name,
            column,
            before,
            after,
        } = change;
        let sql = format!("{before}alter table users add column {column} text;\n{after}");
        piece.with(&format!("prisma/migrations/{name}/migration.sql"), sql)
    })
}

struct Bench {
    fleet: HostFleet,
}

impl Bench {
    fn new() -> Self {
        let fleet = HostFleet::start(1).unwrap();
        let bench = Self { fleet };
        bench.does(&["useradd", "--create-home", "deploy"]);
        let own = "local all all peer\nhost all all 127.0.0.1/32 trust\n";
        let host = bench.fleet.hosts.host("n01").unwrap();
        host.write("/etc/postgresql/15/main/pg_hba.conf", own.as_bytes(), 0o644)
            .unwrap();
        bench.does(&["systemctl", "start", "postgresql@15-main"]);
        let as_postgres = ["runuser", "-u", "postgres", "--"];
        bench.does(&[&as_postgres[..], &["createuser", "deploy"]].concat());
        bench.does(&[&as_postgres[..], &["createdb", "-O", "deploy", "vanguard"]].concat());
        bench
    }

    fn on(&self, command: &[&str]) -> Ended {
        self.fleet.hosts.host("n01").unwrap().run(command).unwrap()
    }

    fn does(&self, command: &[&str]) -> String {
        let ended = self.on(command);
        assert_eq!(ended.code, 0, "{command:?}: {}", ended.stderr);
        ended.stdout.trim().to_owned()
    }

    fn sql(&self, query: &str) -> String {
        self.does(&[
            "psql",
            "-h",
            "127.0.0.1",
            "-U",
            "deploy",
            "-XAt",
            "-c",
            query,
            "vanguard",
        ])
    }

    fn push(&self, version: &str, changes: &[&Change]) {
        push(&self.fleet.fleet, version, "20s", &[backend(version, changes)]).unwrap();
    }

    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let Ended {
            stdout,
            stderr,
            code: found,
        } = self.fleet.fleet.ctl(arguments).unwrap();
        let said = format!("{stdout}{stderr}");
        let log = || agent_log(self.fleet.hosts.host("n01").unwrap());
        assert_eq!(found, code, "{arguments:?}: {said}\n{}", log());
        said
    }

    /// A person has looked, and lets it go on.
    fn resume(&self, version: &str) {
        self.ends(&["resume"], 0);
        wait_for("the rollout to go on to its end", PATIENCE, || {
            let status = self.fleet.fleet.status().ok()?;
            let newest = status.rollouts.first()?;
            (self.runs() == version && newest.state == RolloutStateView::Succeeded).then_some(())
        })
        .unwrap();
    }

    fn runs(&self) -> String {
        let version = "/var/lib/fleet/agent/apps/shop/current/files/backend/version";
        self.does(&["cat", version])
    }

    /// What the node runs, and what its database has.
    fn assert_stands(&self, version: &str, columns: &str) {
        assert_eq!(self.runs(), version);
        let found = self.sql(
            "select string_agg(column_name, ' ' order by ordinal_position) \
             from information_schema.columns where table_name = 'users'",
        );
        assert_eq!(found, columns);
    }

    /// Each attempt of Prisma's at the change, as it has written it down.
    fn record(&self, change: &Change) -> String {
        self.sql(&format!(
            "select case when rolled_back_at is not null then 'rolled back' \
             when finished_at is not null then 'applied' \
             when logs is not null then 'failed' else 'begun' end \
             from _prisma_migrations where migration_name = '{}' order by started_at",
            change.name
        ))
    }

    /// What Prisma itself says, by the files of the release that runs.
    fn prisma_status(&self) -> String {
        let script = "cd /var/lib/fleet/agent/apps/shop/current/files/backend && \
                      DATABASE_URL=postgresql://deploy@127.0.0.1/vanguard CHECKPOINT_DISABLE=1 \
                      prisma migrate status";
        let Ended { stdout, stderr, .. } = self.on(&["sh", "-c", script]);
        format!("{stdout}{stderr}")
    }

    fn wait_until_at_it(&self) {
        let asleep = "select count(*) from pg_stat_activity where state = 'active' \
                      and query like 'select pg_sleep%'";
        wait_for("the migration to be at it", PATIENCE, || {
            (self.sql(asleep) == "1").then_some(())
        })
        .unwrap();
    }

    fn backups(&self) -> usize {
        self.does(&["ls", "/var/lib/fleet/agent/apps/shop/backups"])
            .lines()
            .count()
    }
}

#[test]
fn prisma_applies_fails_is_mended_and_comes_back() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    bench.push("v1.0.0", &[&EMAIL]);
    bench.push("v1.1.0", &[&EMAIL, &PHONE]);
    bench.push("v1.2.0", &[&EMAIL, &PHONE, &FAX_AND_AN_ERROR]);
    bench.push("v1.3.0", &[&EMAIL, &PHONE, &FAX]);
    bench.ends(&["rollout", "v1.0.0"], 0);
    bench.ends(&["rollout", "v1.1.0"], 0);
    bench.assert_stands("v1.1.0", "name email phone");
    let said = bench.prisma_status();
    assert!(said.contains("Database schema is up to date"), "{said}");

    // Once more: nothing is done, and nothing is asked for it.
    bench.ends(&["rollout", "v1.1.0"], 0);
    assert_eq!(bench.record(&PHONE), "applied");
    assert_eq!(bench.backups(), 2);

    // Nobody moves, the database has no half of it, and Prisma keeps it as failed.
    let said = bench.ends(&["rollout", "v1.2.0"], 1);
    assert!(
        said.contains("(up) failed on n01: up exited with code 1"),
        "{said}"
    );
    assert!(said.contains("No such table: customers"), "{said}");
    bench.assert_stands("v1.1.0", "name email phone");
    assert_eq!(bench.record(&FAX), "failed");

    // What is mended waits for a person who looks at that.
    let said = bench.ends(&["rollout", "v1.3.0"], 1);
    let why = format!(
        "status exited with code 2: prisma has not come to the end of {}",
        FAX.name
    );
    assert!(said.contains(&why), "{said}");
    // As `prisma migrate resolve --rolled-back` does, which wants Prisma's own engine for it.
    bench.sql(&format!(
        "update _prisma_migrations set rolled_back_at = now() \
         where migration_name = '{}' and finished_at is null",
        FAX.name
    ));
    bench.resume("v1.3.0");
    bench.assert_stands("v1.3.0", "name email phone fax");
    assert_eq!(bench.record(&FAX), "rolled back\napplied");

    // Its own way back takes Prisma's record along: it may go out again.
    bench.ends(&["rollback"], 0);
    bench.assert_stands("v1.1.0", "name email phone");
    let said = bench.prisma_status();
    assert!(said.contains("Database schema is up to date"), "{said}");
    bench.ends(&["rollout", "v1.3.0"], 0);
    bench.assert_stands("v1.3.0", "name email phone fax");
}

#[test]
fn prisma_comes_to_its_end_without_the_agent_and_nobody_guesses_what_became_of_it() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    bench.push("v1.0.0", &[&EMAIL]);
    bench.push("v1.1.0", &[&EMAIL, &SLOW_PHONE]);
    bench.push("v1.2.0", &[&EMAIL, &SLOW_PHONE, &SLOW_FAX]);
    bench.ends(&["rollout", "v1.0.0"], 0);

    let rollout = bench.fleet.fleet.ctl_beside(&["rollout", "v1.1.0"]).unwrap();
    bench.wait_until_at_it();
    bench.does(&[
        "systemctl",
        "kill",
        "--signal=KILL",
        "--kill-whom=main",
        "fleet-agent",
    ]);
    let rollout = rollout.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&rollout.stderr);
    assert_eq!(rollout.status.code(), Some(0), "{said}");
    bench.assert_stands("v1.1.0", "name email phone");
    assert_eq!(bench.record(&PHONE), "applied");

    // Prisma is killed with all that watches it; the database does not notice that.
    let rollout = bench.fleet.fleet.ctl_beside(&["rollout", "v1.2.0"]).unwrap();
    bench.wait_until_at_it();
    bench.does(&[
        "pkill",
        "--signal=KILL",
        "--full",
        "migration/up|prisma migrate deploy",
    ]);
    let rollout = rollout.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&rollout.stderr);
    assert_eq!(rollout.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nobody knows how the migration of v1.2.0"),
        "{said}"
    );
    assert_eq!(bench.record(&SLOW_FAX), "begun");
    wait_for("the database to come to the end of it", PATIENCE, || {
        let columns = "select count(*) from information_schema.columns where column_name = 'fax'";
        (bench.sql(columns) == "1").then_some(())
    })
    .unwrap();
    // A person has looked: as `prisma migrate resolve --applied` does.
    bench.sql(&format!(
        "update _prisma_migrations set finished_at = now(), applied_steps_count = 1 \
         where migration_name = '{}'",
        FAX.name
    ));
    bench.resume("v1.2.0");
    bench.assert_stands("v1.2.0", "name email phone fax");
    assert_eq!(bench.record(&SLOW_FAX), "applied");
    bench.ends(&["rollback"], 0);
    bench.assert_stands("v1.1.0", "name email phone");
}
