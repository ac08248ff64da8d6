//! Metrics as text, for Prometheus and whoever reads what it reads: OpenMetrics, or the
//! older text format where nobody asks for that.
//!
//! The two differ little: what a counter's family is called, what information is, and how
//! it ends. So whoever writes figures names them once, without knowing for whom. It is
//! written by hand because an agent has to stay small, and because one writer for both
//! sides keeps their names alike.

mod histogram;

use std::fmt::{Display, Write};

pub use histogram::Histogram;

/// In what form the figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text format, version 0.0.4: what `promtool check metrics` reads.
    Text,
    OpenMetrics,
}

impl Form {
    /// What an `Accept` header asks for. Text is what everybody understands.
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

pub type Label<'a> = (&'a str, &'a str);

/// Families of figures, one after another.
#[derive(Debug)]
pub struct Exposition {
    form: Form,
    text: String,
}

/// The samples of one family; all of them have to be given before the next family begins.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    /// Of each sample.
    name: String,
}

impl Exposition {
    pub fn new(form: Form) -> Self {
        Self {
            form,
            text: String::new(),
        }
    }

    /// What goes up and down. The name has its unit last.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help, "")
    }

    /// What only rises while its process lives. The name is without `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, "counter", help, "_total")
    }

    /// Words that belong to the process, as labels. The name is without `_info`.
    pub fn info(&mut self, name: &str, help: &str, labels: &[Label<'_>]) {
        let kind = match self.form {
            Form::Text => "gauge",
            Form::OpenMetrics => "info",
        };
        self.family(name, kind, help, "_info").value(labels, 1);
    }

    /// How often something took how long.
    pub fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help, "")
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, suffix: &str) -> Family<'_> {
        let sample = format!("{name}{suffix}");
        let family = match self.form {
            Form::Text => &sample,
            Form::OpenMetrics => name,
        };
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {family} {help}");
        let _ = writeln!(self.text, "# TYPE {family} {kind}");
        Family {
            text: &mut self.text,
            name: sample,
        }
    }

    pub fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

impl Family<'_> {
    pub fn value(&mut self, labels: &[Label<'_>], value: impl Display) -> &mut Self {
        self.sample("", labels, None, value);
        self
    }

    /// Of a family that is a histogram.
    pub fn observed(&mut self, labels: &[Label<'_>], observed: &Histogram) -> &mut Self {
        for (bound, count) in observed.cumulative() {
            self.sample("_bucket", labels, Some(&bound), count);
        }
        self.sample("_sum", labels, None, observed.sum());
        self.sample("_count", labels, None, observed.count());
        self
    }

    fn sample(&mut self, suffix: &str, labels: &[Label<'_>], bound: Option<&str>, value: impl Display) {
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut opening = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            self.text.push(opening);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form) -> String {
        let mut latency = Histogram::new(&[0.5, 1.0]);
        latency.observe(0.25);
        latency.observe(3.0);
        let mut text = Exposition::new(form);
        text.gauge("nodes", "Nodes.").value(&[("zone", "a\"\\\n")], 3);
        text.counter("turns", "Turns.").value(&[], 7);
        text.info("build", "Version.", &[("version", "1.0")]);
        text.histogram("turn_seconds", "Turn time.")
            .observed(&[("of", "x")], &latency);
        text.finish()
    }

    const SAMPLES: [&str; 8] = [
        "nodes{zone=\"a\\\"\\\\\\n\"} 3",
        "turns_total 7",
        "build_info{version=\"1.0\"} 1",
        "turn_seconds_bucket{of=\"x\",le=\"0.5\"} 1",
        "turn_seconds_bucket{of=\"x\",le=\"1.0\"} 1",
        "turn_seconds_bucket{of=\"x\",le=\"+Inf\"} 2",
        "turn_seconds_sum{of=\"x\"} 3.25",
        "turn_seconds_count{of=\"x\"} 2",
    ];

    fn assert_written(form: Form, headers: &[&str]) {
        let text = written(form);
        let lines: Vec<&str> = text.lines().collect();
        let comments = lines
            .iter()
            .filter(|line| line.starts_with("# TYPE") || line.starts_with("# EOF"));
        assert_eq!(comments.copied().collect::<Vec<_>>(), headers);
        let samples = lines.iter().filter(|line| !line.starts_with('#'));
        assert_eq!(samples.copied().collect::<Vec<_>>(), SAMPLES);
    }

    #[test]
    fn both_forms_have_the_same_samples() {
        assert_written(
            Form::Text,
            &[
                "# TYPE nodes gauge",
                "# TYPE turns_total counter",
                "# TYPE build_info gauge",
                "# TYPE turn_seconds histogram",
            ],
        );
        assert_written(
            Form::OpenMetrics,
            &[
                "# TYPE nodes gauge",
                "# TYPE turns counter",
                "# TYPE build info",
                "# TYPE turn_seconds histogram",
                "# EOF",
            ],
        );
    }

    #[test]
    fn whoever_does_not_ask_gets_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        for (accept, form) in [
            (None, Form::Text),
            (Some("*/*"), Form::Text),
            (Some("text/plain"), Form::Text),
            (Some(prometheus), Form::OpenMetrics),
        ] {
            assert_eq!(Form::accepted(accept), form, "{accept:?}");
        }
    }
}
