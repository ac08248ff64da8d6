//! Questions and their answers. Who answers is another machine: lines are cut, and made
//! harmless, and what is too much is no answer.

use super::{WireError, cut, need, none_if_empty};
use crate::ids::ComponentName;
use crate::quantity::Span;
use crate::session::drift::DriftWanted;
use crate::session::question::{
    AnswerPiece, AnswerRefused, Asked, CUT, LINE_BYTES_MAX, LINES_MAX, LogLine, LogsWanted, PIECE_BYTES_MAX,
    Question, Said,
};
use crate::time::Timestamp;
use crate::wire;

/// The shortest lines that fill a piece; a bound on what their envelopes cost.
const LINES_PER_PIECE_MAX: usize = 4096;

impl From<Question> for wire::Question {
    fn from(question: Question) -> Self {
        let what = match question.what {
            Asked::Logs(wanted) => wire::question::What::Logs(wanted.into()),
            Asked::Drift(wanted) => wire::question::What::Drift(wire::DriftWanted {
                app: wanted.app.map(Into::into).unwrap_or_default(),
            }),
        };
        Self {
            id: question.id.as_str().to_owned(),
            what: Some(what),
        }
    }
}

impl TryFrom<wire::Question> for Question {
    type Error = WireError;
    fn try_from(question: wire::Question) -> Result<Self, WireError> {
        Ok(Self {
            id: question.id.parse()?,
            what: match need(question.what, "what")? {
                wire::question::What::Logs(wanted) => Asked::Logs(wanted.try_into()?),
                wire::question::What::Drift(wanted) => Asked::Drift(DriftWanted {
                    app: (!wanted.app.is_empty()).then(|| wanted.app.parse()).transpose()?,
                }),
            },
        })
    }
}

impl From<LogsWanted> for wire::LogsWanted {
    fn from(wanted: LogsWanted) -> Self {
        Self {
            app: wanted.app.into(),
            component: wanted.component.map(Into::into).unwrap_or_default(),
            since_ms: wanted.since.map_or(0, Span::as_millis),
            lines: wanted.lines,
            follow: wanted.follow,
        }
    }
}

impl TryFrom<wire::LogsWanted> for LogsWanted {
    type Error = WireError;
    fn try_from(wanted: wire::LogsWanted) -> Result<Self, WireError> {
        if wanted.lines > LINES_MAX {
            return Err(WireError::TooMany {
                what: "lines asked for",
                limit: LINES_MAX as usize,
            });
        }
        Ok(Self {
            app: wanted.app.parse()?,
            component: match wanted.component.as_str() {
                "" => None,
                name => Some(name.parse()?),
            },
            since: Some(Span::from_millis(wanted.since_ms)).filter(|since| *since != Span::ZERO),
            lines: wanted.lines,
            follow: wanted.follow,
        })
    }
}

impl From<AnswerPiece> for wire::AnswerPiece {
    fn from(piece: AnswerPiece) -> Self {
        use wire::answer_piece::What;
        let what = match piece {
            AnswerPiece::Begins(id) => What::Begins(id.as_str().to_owned()),
            AnswerPiece::Lines(lines) => What::Lines(lines_to_wire(lines)),
            AnswerPiece::Drift(report) => What::Drift(report.into()),
            AnswerPiece::Refused(refused) => What::Refused(wire::AnswerRefused {
                why: refused.why,
                hint: refused.hint.unwrap_or_default(),
                is_absent: refused.is_absent,
            }),
            AnswerPiece::Ends => What::Ends(wire::Nothing {}),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<wire::AnswerPiece> for AnswerPiece {
    type Error = WireError;
    fn try_from(piece: wire::AnswerPiece) -> Result<Self, WireError> {
        use wire::answer_piece::What;
        Ok(match need(piece.what, "what")? {
            What::Begins(id) => Self::Begins(id.parse()?),
            What::Lines(lines) => Self::Lines(lines_from_wire(lines)?),
            What::Drift(drift) => Self::Drift(drift.try_into()?),
            What::Refused(refused) => Self::Refused(AnswerRefused {
                why: cut(refused.why),
                hint: none_if_empty(refused.hint),
                is_absent: refused.is_absent,
            }),
            What::Ends(wire::Nothing {}) => Self::Ends,
        })
    }
}

pub fn lines_to_wire(lines: Vec<LogLine>) -> wire::LogLines {
    let lines = lines.into_iter().map(|line| {
        let (text, skipped) = match line.said {
            Said::Line(text) => (text, 0),
            Said::Skipped(count) => (String::new(), count),
        };
        wire::LogLine {
            component: line.component.into(),
            at_ms: line.at.map_or(0, |at| at.0),
            text,
            skipped,
        }
    });
    wire::LogLines {
        lines: lines.collect(),
    }
}

pub fn lines_from_wire(lines: wire::LogLines) -> Result<Vec<LogLine>, WireError> {
    let bytes: usize = lines.lines.iter().map(|line| line.text.len()).sum();
    for (what, found, limit) in [
        ("lines in one piece", lines.lines.len(), LINES_PER_PIECE_MAX),
        ("bytes in one piece", bytes, PIECE_BYTES_MAX + LINE_BYTES_MAX),
    ] {
        if found > limit {
            return Err(WireError::TooMany { what, limit });
        }
    }
    lines.lines.into_iter().map(line_from_wire).collect()
}

fn line_from_wire(line: wire::LogLine) -> Result<LogLine, WireError> {
    let said = match line.skipped {
        0 if line.text.len() > LINE_BYTES_MAX + CUT.len() => return Err(WireError::Wrong("text")),
        // An honest agent has made it harmless; this is for the others.
        0 if line.text.contains(char::is_control) => Said::Line(line.text.replace(char::is_control, " ")),
        0 => Said::Line(line.text),
        count => Said::Skipped(count),
    };
    Ok(LogLine {
        component: line.component.parse::<ComponentName>()?,
        at: Some(Timestamp(line.at_ms)).filter(|at| at.0 != 0),
        said,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::session::drift::{DriftReport, Drifted, Finding};
    use crate::session::question::QuestionId;

    fn line(text: String) -> wire::LogLine {
        wire::LogLine {
            component: "web".into(),
            text,
            ..wire::LogLine::default()
        }
    }

    #[test]
    fn what_is_asked_and_answered_comes_over_as_it_is() {
        let question = Question {
            id: QuestionId::generate().unwrap(),
            what: Asked::Logs(LogsWanted {
                app: "shop".parse().unwrap(),
                component: Some("web".parse().unwrap()),
                since: Some(Span::from_secs(600)),
                lines: 200,
                follow: true,
            }),
        };
        let wire = wire::Question::from(question.clone());
        assert_eq!(Question::try_from(wire).unwrap(), question);
        let of = |at, said| LogLine {
            component: "web".parse().unwrap(),
            at,
            said,
        };
        let lines = vec![
            of(Some(Timestamp(5)), Said::Line("one".into())),
            of(None, Said::Line(String::new())),
            of(None, Said::Skipped(1234)),
        ];
        let finding = Finding {
            app: "shop".parse().unwrap(),
            component: None,
            what: Drifted::FileChanged,
            subject: "web/run".into(),
            expected: "1".into(),
            found: "2".into(),
            mend: "rm".into(),
        };
        let drift = DriftReport {
            findings: Drifted::ALL
                .map(|what| Finding {
                    what,
                    ..finding.clone()
                })
                .into(),
            more: 7,
            unknown: vec!["till: busy".into()],
        };
        for piece in [
            AnswerPiece::Lines(lines),
            AnswerPiece::Drift(drift),
            AnswerPiece::Ends,
        ] {
            let wire = wire::AnswerPiece::from(piece.clone());
            assert_eq!(AnswerPiece::try_from(wire).unwrap(), piece);
        }
    }

    #[test]
    fn too_much_is_no_answer_and_an_escape_code_is_none_any_more() {
        let lines = |lines| lines_from_wire(wire::LogLines { lines });
        assert!(lines(vec![line("x".repeat(LINE_BYTES_MAX * 2))]).is_err());
        assert!(lines(vec![line("x".repeat(LINE_BYTES_MAX)); 10]).is_err());
        assert!(lines(vec![line(String::new()); LINES_PER_PIECE_MAX + 1]).is_err());
        let harmless = lines(vec![line("\x1b[2Jx\n".into())]).unwrap();
        assert_eq!(harmless[0].said, Said::Line(" [2Jx ".into()));
        let asked = wire::LogsWanted {
            app: "shop".into(),
            lines: LINES_MAX + 1,
            ..wire::LogsWanted::default()
        };
        assert!(LogsWanted::try_from(asked).is_err());
    }
}
