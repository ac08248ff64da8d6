//! Operators: who they are, and what they may.

use fleet_proto::view::OperatorView;

use super::table::Table;

pub fn table(operators: &[OperatorView]) -> String {
    let mut table = Table::new(&["operator", "may", "by", "access tokens"]);
    for operator in operators {
        table.row(vec![
            operator.operator.to_string(),
            may(operator),
            match (&operator.by, operator.in_configuration) {
                (_, true) => "coordinator.toml".to_owned(),
                (by, false) => by.clone().unwrap_or_default(),
            },
            tokens(operator),
        ]);
    }
    if table.is_empty() {
        return "nobody; name the first one under `admins` in coordinator.toml".to_owned();
    }
    table.print()
}

fn may(operator: &OperatorView) -> String {
    match operator.roles.is_empty() {
        true => "removed".to_owned(),
        false => operator.roles.to_string(),
    }
}

fn tokens(operator: &OperatorView) -> String {
    let tokens = operator.tokens.iter();
    let told: Vec<String> = tokens
        .map(|token| match token.state.as_str() {
            "open" => format!("{} until {}", token.id, token.expires_at),
            other => format!("{} {other}", token.id),
        })
        .collect();
    told.join(", ")
}

pub fn is_now(operator: &OperatorView) -> String {
    format!("{} is {}", operator.operator, operator.roles)
}

pub fn left(operator: &OperatorView) -> String {
    match operator.roles.is_empty() {
        true => format!("{} is removed, and cut off", operator.operator),
        false => is_now(operator),
    }
}
