//! A figure, what it is held against, and the goal.

use serde::Serialize;

/// One measured figure of performance.md.
#[derive(Clone, Debug, Serialize)]
pub struct Metric {
    /// `T1` to `T16`.
    pub id: &'static str,
    /// What was measured, in words.
    pub what: String,
    /// Of the figure.
    pub unit: &'static str,
    /// Ours.
    pub figure: f64,
    /// Taken in the same run, on the same cores.
    pub reference: Option<Reference>,
    /// Ours against the reference; a median of repetitions where there are several.
    pub ratio: Option<f64>,
    /// What performance.md asks for.
    pub goal: Option<Goal>,
    /// What nobody can pass, in the terms of the goal.
    pub limit: Option<f64>,
    /// Whether the goal is reached; null without one.
    pub reached: Option<bool>,
}

/// What the figure is held against.
#[derive(Clone, Debug, Serialize)]
pub struct Reference {
    /// A program of `benches/reference/`, or what else was measured in the same run.
    pub name: &'static str,
    /// In the unit of the figure.
    pub figure: f64,
}

/// What performance.md asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Of the figure.
    FigureAtMost(f64),
    /// Of the ratio.
    RatioAtLeast(f64),
    /// Of the ratio.
    RatioAtMost(f64),
}

impl Metric {
    pub(crate) fn of(id: &'static str, what: impl Into<String>, figure: f64, unit: &'static str) -> Self {
        let what = what.into();
        Self { id, what, unit, figure, reference: None, ratio: None, goal: None, limit: None, reached: None }
    }

    pub(crate) fn against(self, name: &'static str, figure: f64) -> Self {
        let ratio = self.figure / figure;
        self.share_of(name, figure, ratio)
    }

    /// The same where the ratio is not that of the two figures: a median of ratios.
    pub(crate) fn share_of(self, name: &'static str, figure: f64, ratio: f64) -> Self {
        // A reference of nothing gives no ratio; JSON knows no infinity.
        Self { reference: Some(Reference { name, figure }), ratio: ratio.is_finite().then_some(ratio), ..self }
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self.reached = match goal {
            Goal::FigureAtMost(most) => Some(self.figure <= most),
            Goal::RatioAtLeast(least) => self.ratio.map(|ratio| ratio >= least),
            Goal::RatioAtMost(most) => self.ratio.map(|ratio| ratio <= most),
        };
        self
    }

    pub(crate) fn limit(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_or_not_and_open_without_a_ratio() {
        let share = Metric::of("T1", "ingest", 40.0, "POST/s").against("bare", 100.0);
        assert_eq!(share.clone().goal(Goal::RatioAtLeast(0.4)).reached, Some(true));
        assert_eq!(share.goal(Goal::RatioAtMost(0.3)).reached, Some(false));
        let nothing = Metric::of("T1", "ingest", 40.0, "POST/s").against("bare", 0.0);
        assert_eq!(nothing.goal(Goal::RatioAtLeast(0.4)).reached, None);
        assert_eq!(Metric::of("T4", "change", 57.0, "ms").goal(Goal::FigureAtMost(57.0)).reached, Some(true));
    }
}
