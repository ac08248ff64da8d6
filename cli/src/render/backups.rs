//! Backups that the coordinator keeps.

use fleet_proto::quantity::Bytes;
use fleet_proto::view::BackupView;

use super::table::Table;

pub fn table(backups: &[BackupView]) -> String {
    let mut table = Table::new(&["rollout", "app", "environment", "before", "made", "on", "size"]);
    for backup in backups {
        table.row(vec![
            backup.rollout.to_string(),
            backup.app.to_string(),
            backup.environment.to_string(),
            backup.release.to_string(),
            backup.at.to_string(),
            backup.node.to_string(),
            Bytes(backup.bytes).to_string(),
        ]);
    }
    if table.is_empty() {
        return "no backup; `upload = true` in [migrations.backup] has one kept here".to_owned();
    }
    table.print()
}

pub fn fetched(path: &str, bytes: u64) -> String {
    format!("{path}: {}", Bytes(bytes))
}
