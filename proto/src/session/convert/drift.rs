//! What a node says of its drift. It is another machine: lists are bounded, texts are cut.

use super::{WireError, cut};
use crate::session::drift::{DriftReport, FINDINGS_MAX, Finding};
use crate::wire;

const UNKNOWN_MAX: usize = 64;

impl From<DriftReport> for wire::Drift {
    fn from(report: DriftReport) -> Self {
        let findings = report.findings.into_iter().map(|finding| wire::DriftFinding {
            app: finding.app.into(),
            component: finding.component.map(Into::into).unwrap_or_default(),
            what: finding.what.word().to_owned(),
            subject: finding.subject,
            expected: finding.expected,
            found: finding.found,
            mend: finding.mend,
        });
        Self {
            findings: findings.collect(),
            more: report.more,
            unknown: report.unknown,
        }
    }
}

impl TryFrom<wire::Drift> for DriftReport {
    type Error = WireError;
    fn try_from(drift: wire::Drift) -> Result<Self, WireError> {
        for (what, found, limit) in [
            ("findings", drift.findings.len(), FINDINGS_MAX),
            ("unknown things", drift.unknown.len(), UNKNOWN_MAX),
        ] {
            if found > limit {
                return Err(WireError::TooMany { what, limit });
            }
        }
        let findings = drift.findings.into_iter().map(|finding| {
            let component = finding.component.as_str();
            Ok(Finding {
                app: finding.app.parse()?,
                component: (!component.is_empty()).then(|| component.parse()).transpose()?,
                what: finding.what.parse()?,
                subject: cut(finding.subject),
                expected: cut(finding.expected),
                found: cut(finding.found),
                mend: cut(finding.mend),
            })
        });
        Ok(Self {
            findings: findings.collect::<Result<_, WireError>>()?,
            more: drift.more,
            unknown: drift.unknown.into_iter().map(cut).collect(),
        })
    }
}
