//! What happened to operators, as sentences.

use super::{Told, of_fleet};
use crate::rollout::event::Event;

pub(super) fn tell_of_operator(event: &Event) -> Told {
    match event {
        Event::OperatorAdded {
            operator, roles, by, ..
        } => of_fleet("operator-added", format!("{by} made {operator} {roles}")),
        Event::OperatorRemoved { operator, by } => {
            of_fleet("operator-removed", format!("{by} removed operator {operator}"))
        }
        Event::AccessTokenCreated {
            operator,
            token,
            expires_at,
            by,
            ..
        } => of_fleet(
            "access-token-created",
            format!("{by} created access token {token} for {operator}, good until {expires_at}"),
        ),
        Event::AccessTokenRevoked { operator, token, by } => of_fleet(
            "access-token-revoked",
            format!("{by} revoked access token {token} of {operator}"),
        ),
        Event::AdminsDefined { admins } => {
            let admins: Vec<String> = admins.iter().map(ToString::to_string).collect();
            let admins = match admins.is_empty() {
                true => "nobody".to_owned(),
                false => admins.join(", "),
            };
            of_fleet(
                "admins-defined",
                format!("the configuration names as admins: {admins}"),
            )
        }
        other => of_fleet("odd", format!("{other:?}")),
    }
}
