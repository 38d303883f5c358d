//! Gauges as Prometheus reads them. They are written anew for each scrape, so that what is gone (a removed connection)
//! is gone from them as well.

use std::fmt::Write as _;

/// Text in Prometheus' format.
#[derive(Default)]
pub(super) struct Exposition(String);

/// Label names with their values.
pub(super) type Labels<'a> = Vec<(&'a str, &'a str)>;

impl Exposition {
    /// One metric with all its series; none, if there are none. Label values are words and ids: nothing to escape.
    pub fn gauge<'a>(&mut self, name: &str, series: impl IntoIterator<Item = (Labels<'a>, f64)>) {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return;
        }
        let _ = writeln!(self.0, "# TYPE {name} gauge");
        for (labels, value) in series {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let _ = match labels.is_empty() {
                true => writeln!(self.0, "{name} {value}"),
                false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
            };
        }
        self.0.push('\n');
    }

    /// One metric with one series and no labels.
    pub fn single(&mut self, name: &str, value: f64) {
        self.gauge(name, [(Labels::new(), value)]);
    }

    pub fn text(self) -> String {
        self.0
    }
}

/// A yes or no.
pub(super) fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_one_block_and_one_without_series_is_not_there() {
        let mut text = Exposition::default();
        text.gauge("lockstep_part_up", [(vec![("part", "store")], 1.0), (vec![("part", "queue")], 0.0)]);
        text.gauge("lockstep_holds_open", []);
        text.single("lockstep_ready", flag(true));
        assert_eq!(
            text.text(),
            "# TYPE lockstep_part_up gauge\nlockstep_part_up{part=\"store\"} 1\nlockstep_part_up{part=\"queue\"} 0\n\n\
             # TYPE lockstep_ready gauge\nlockstep_ready 1\n\n"
        );
    }
}
