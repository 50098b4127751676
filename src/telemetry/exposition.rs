//! The Prometheus text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
use std::fmt::{Display, Write as _};

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    /// Only increases, except for resets.
    Counter,
    /// Can go up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl MetricType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The text, built family by family.
#[derive(Default)]
pub(super) struct Exposition(String);

/// The samples of one family.
pub(super) struct Samples<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Exposition {
    /// Appends a family with its samples; one without samples is omitted.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: MetricType,
        help: &str,
        samples: impl FnOnce(&mut Samples<'_>),
    ) {
        let before = self.0.len();
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.as_str());
        let head = self.0.len();
        samples(&mut Samples { name, text: &mut self.0 });
        if self.0.len() == head {
            self.0.truncate(before);
        }
    }

    /// Appends a gauge with one sample.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, MetricType::Gauge, help, |samples| samples.add(&[], value));
    }

    /// Appends a counter with one sample.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, MetricType::Counter, help, |samples| samples.add(&[], value));
    }

    /// Returns the text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Samples<'_> {
    /// Appends a sample.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.add_part("", labels, value);
    }

    /// Appends a sample of a histogram: `_bucket`, `_sum`, `_count`.
    pub(super) fn add_part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if at == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Returns an instant in Prometheus's form: seconds since 1970.
pub(super) fn seconds(at: jiff::Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_and_help_are_escaped() {
        let mut text = Exposition::default();
        text.family("a_b", MetricType::Gauge, "one\\two\nthree \"four\"", |samples| {
            samples.add(&[("x", "a\\b\"c\nd"), ("y", "é{},=")], 1.5);
        });
        text.family("nothing", MetricType::Counter, "none", |_| {});
        text.counter("c_total", "c", 3);
        assert_eq!(
            text.finish(),
            "# HELP a_b one\\\\two\\nthree \"four\"\n# TYPE a_b gauge\na_b{x=\"a\\\\b\\\"c\\nd\",y=\"é{},=\"} 1.5\n\
             # HELP c_total c\n# TYPE c_total counter\nc_total 3\n"
        );
    }
}
