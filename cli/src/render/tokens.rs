//! Join tokens. The secret is shown once, by `token create`, and nowhere else.

use fleet_proto::view::TokenView;

use super::nodes::labels;
use super::table::Table;

pub fn table(tokens: &[TokenView]) -> String {
    let mut table = Table::new(&["token", "state", "for", "uses left", "expires", "labels", "by"]);
    for token in tokens {
        table.row(vec![
            token.id.to_string(),
            token.state.clone(),
            token.node.as_ref().map_or_else(
                || match token.ephemeral {
                    true => "any new pod".to_owned(),
                    false => "any new node".to_owned(),
                },
                ToString::to_string,
            ),
            token.uses_left.to_string(),
            token.expires_at.to_string(),
            labels(&token.labels),
            token.by.clone(),
        ]);
    }
    if table.is_empty() {
        return "no token; `fleetctl token create --label environment=dev` makes one".to_owned();
    }
    table.print()
}
