//! Acting on a rollout over HTTP: the same requests to the same driver as over gRPC, so the
//! same roles, the same record and the same fences.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fleet_proto::ids::RolloutNumber;
use fleet_proto::waves::WaveSpec;
use serde::Deserialize;

use super::Web;
use super::asked::{Asked, Named, Said};
use super::problem::Problem;
use super::views::{Nothing, detail};
use super::visitor::Visitor;
use crate::rollout::gate::WithKnownBad;
use crate::rollout::input::{Author, Refusal, RefusalKind, Reply, Request, Retry, RollBack};

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Act {
    Pause,
    Resume,
    Abort,
    Retry,
    Rollback,
}

impl Act {
    const fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Rollback => "rollback",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    reason: Option<String>,
    /// How far a held rollout goes on.
    waves: Option<String>,
    /// Also with a release that has failed here.
    again: Option<bool>,
}

fn request(act: Act, number: RolloutNumber, how: How) -> Result<Request, Problem> {
    let reason = how.reason.filter(|reason| !reason.is_empty());
    let unfit = |key: &str| {
        let message = format!("to {} takes no `{key}`", act.word());
        Err(Problem::from(Refusal::new(RefusalKind::Usage, message)))
    };
    if how.waves.is_some() && !matches!(act, Act::Resume) {
        return unfit("waves");
    }
    if how.again.is_some() && !matches!(act, Act::Retry | Act::Rollback) {
        return unfit("again");
    }
    let known_bad = match how.again {
        Some(true) => WithKnownBad::TryAgain,
        _ => WithKnownBad::Refuse,
    };
    Ok(match act {
        Act::Pause => Request::Pause { number, reason },
        Act::Resume => Request::Resume {
            number,
            waves: how.waves.map(|waves| read_waves(&waves)).transpose()?,
        },
        Act::Abort => Request::Abort { number, reason },
        Act::Retry => Request::Retry(Retry {
            number,
            known_bad,
            reason,
        }),
        Act::Rollback => Request::RollBack(RollBack {
            number: Some(number),
            known_bad,
            reason,
            ..RollBack::default()
        }),
    })
}

/// Which waves make sense depends on how far it has come.
fn read_waves(text: &str) -> Result<WaveSpec, Problem> {
    text.parse()
        .map_err(|error| Problem::new(StatusCode::CONFLICT, format!("{error}")))
}

/// Whether waves were asked for or were not, a resume that does not fit is one of this state.
fn refused(act: Act, refusal: Refusal) -> Problem {
    let kind = match (act, refusal.kind) {
        (Act::Resume, RefusalKind::Usage) => RefusalKind::Refused,
        (_, kind) => kind,
    };
    Problem::from(Refusal { kind, ..refusal })
}

/// The answer is how the rollout stands then; for a rollback, the new one.
pub(super) async fn act(
    State(web): State<Web>,
    visitor: Visitor,
    Named((number, act)): Named<(RolloutNumber, Act)>,
    _: Asked<Nothing>,
    Said(how): Said<How>,
) -> Result<Response, Problem> {
    let operator = visitor.must_have_a_name()?;
    let request = request(act, number, how)?;
    let answer = web
        .handle
        .submit(Author::Operator(operator.clone()), request)
        .await;
    let via = visitor.via.word();
    match &answer {
        Ok(_) => tracing::info!(%operator, what = act.word(), rollout = number.0, via, "ordered"),
        Err(why) => {
            tracing::info!(%operator, what = act.word(), rollout = number.0, via, %why, "refused an order");
        }
    }
    let number = match answer.map_err(|refusal| refused(act, refusal))? {
        Reply::Rollout(number) => number,
        _ => number,
    };
    let mut response = Json(detail(&web, number)?).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
