//! Views as documents, and the small readings that every call needs.

use std::str::FromStr;

use fleet_proto::wire;
use serde::Serialize;
use tonic::{Response, Status};

use super::Answer;
use crate::refusal;

pub(super) fn document<T: Serialize>(view: &T) -> Result<wire::Document, Status> {
    serde_json::to_string(view)
        .map(|json| wire::Document { json })
        .map_err(|error| refusal::internal(&error))
}

pub(super) fn answer<T: Serialize>(view: &T) -> Answer {
    Ok(Response::new(document(view)?))
}

/// An empty string means: not said.
pub(super) fn if_said<T>(text: &str) -> Result<Option<T>, Status>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(refusal::usage)
}

pub(super) fn text_if_said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
