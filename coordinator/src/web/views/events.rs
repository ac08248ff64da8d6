//! The journal as sentences, page by page, from either end.

use axum::extract::State;
use axum::http::HeaderMap;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::view::EventView;
use fleet_proto::view::board::Page;
use serde::Deserialize;

use super::Answered;
use crate::driver::{DriverError, Handle};
use crate::rollout::view;
use crate::web::Web;
use crate::web::answers::Moment;
use crate::web::asked::{Asked, limit};
use crate::web::problem::Problem;

/// However rare what is asked for is, no page takes longer than to read so many: one that
/// ends there is short, and says where to go on.
const READ_MAX: u64 = 4_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    #[default]
    Newest,
    Oldest,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct EventsQuery {
    rollout: Option<RolloutNumber>,
    node: Option<NodeId>,
    by: Option<String>,
    #[serde(default)]
    order: Order,
    limit: Option<usize>,
    /// The position that the last page ended with.
    after: Option<u64>,
}

impl EventsQuery {
    fn takes(&self, event: &EventView) -> bool {
        (self.rollout.is_none() || event.rollout == self.rollout)
            && (self.node.is_none() || event.node == self.node)
            && (self.by.is_none() || event.by == self.by)
    }
}

pub(in crate::web) async fn events(
    State(web): State<Web>,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Answered {
    let limit = limit(query.limit)?;
    let end = *web.handle.changes().borrow();
    let key = format!("events {query:?}");
    let handle = web.handle.clone();
    let make = move || {
        let read = match query.order {
            Order::Newest => newest(&handle, &query, limit, end),
            Order::Oldest => oldest(&handle, &query, limit, end),
        };
        read.map_err(|error| Problem::internal(&error))
    };
    let moment = Moment::new(end, fleet_proto::time::Timestamp(0));
    Ok(web.answers.get(moment, &key, make).await?.to(&headers))
}

fn read(handle: &Handle, after: u64, count: u64) -> Result<Vec<EventView>, DriverError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let stamped = handle.events_after(after, count)?;
    Ok(stamped.iter().map(view::event).collect())
}

fn oldest(
    handle: &Handle,
    query: &EventsQuery,
    limit: usize,
    end: u64,
) -> Result<Page<EventView>, DriverError> {
    let begin = query.after.unwrap_or(0);
    let seen = read(handle, begin, READ_MAX)?;
    let last_read = seen.last().map_or(end, |event| event.position);
    let mut fitting = seen.into_iter().filter(|event| query.takes(event));
    let items: Vec<EventView> = fitting.by_ref().take(limit).collect();
    let next = match (fitting.next(), items.last()) {
        (Some(_), Some(last)) => Some(last.position),
        _ => Some(last_read).filter(|last| *last < end),
    };
    let next = next.map(|position| position.to_string());
    Ok(Page { items, next })
}

fn newest(
    handle: &Handle,
    query: &EventsQuery,
    limit: usize,
    end: u64,
) -> Result<Page<EventView>, DriverError> {
    // Behind the last one that was shown.
    let upper = query.after.map_or(end, |shown| shown.saturating_sub(1).min(end));
    let lower = upper.saturating_sub(READ_MAX);
    let mut seen = read(handle, lower, upper - lower)?;
    seen.retain(|event| event.position <= upper);
    let first_read = seen.first().map_or(0, |event| event.position);
    let mut fitting = seen.into_iter().rev().filter(|event| query.takes(event));
    let items: Vec<EventView> = fitting.by_ref().take(limit).collect();
    let next = match (fitting.next(), items.last()) {
        (Some(_), Some(last)) => Some(last.position),
        _ => Some(first_read).filter(|first| *first > 1),
    };
    let next = next.map(|position| position.to_string());
    Ok(Page { items, next })
}
