//! The goals as a table.

use std::fmt::Write as _;

use super::Report;
use crate::{
    catalogue::Bound,
    goal::{Goal, median},
    load::Figures,
};

/// How many times as long a request may take on longer tables, at the median.
const SCALED: f64 = 1.5;

impl Report {
    /// A Markdown table of all goals, and what was reached.
    pub fn goals_table(&self) -> String {
        let mut text = String::from("| what | goal | reached | |\n|---|---|--:|---|");
        for goal in self.scenario_goals().iter().chain(&self.goals) {
            let verdict = if goal.is_reached { "yes" } else { "**no**" };
            let Goal {
                what, bound, measured, ..
            } = goal;
            write!(text, "\n| {what} | {bound} | {measured} | {verdict} |").ok();
        }
        text + "\n"
    }

    /// The goals of the scenarios on the host, and on longer tables compared with the host.
    fn scenario_goals(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        for (row, scenario) in self.scenarios.iter().enumerate() {
            let bounds = scenario.bounds.iter().filter_map(|bound| self.reached(row, *bound));
            goals.extend(bounds.chain(self.scaled_goal(row)));
        }
        goals
    }

    /// A bound and what the host reached of it; `None` without figures.
    fn reached(&self, row: usize, bound: Bound) -> Option<Goal> {
        let (bound, measured, is_reached) = match bound {
            Bound::OfLimit(least) => {
                let ratio = self.ratio(row, 0)?;
                let bound = format!("≥ {least} of the limit");
                (bound, format!("{ratio:.2}"), ratio >= least)
            }
            Bound::P99(most) => {
                let p99 = self.median(row, 0, |figures| figures.percentile(0.99))?;
                (format!("p99 ≤ {most} ms"), format!("{p99:.1} ms"), p99 <= most)
            }
            Bound::PerSecond(least) => {
                let rate = self.median(row, 0, Figures::rate)?;
                (format!("≥ {least} a second"), format!("{rate:.0}"), rate >= least)
            }
            Bound::Times(most, of) => {
                let of_row = self.scenarios.iter().position(|scenario| scenario.name == of)?;
                let times = self.times((row, 0), (of_row, 0))?;
                (format!("p50 ≤ {most} × {of}"), format!("{times:.2}"), times <= most)
            }
        };
        Some(Goal {
            what: self.scenarios[row].name.to_owned(),
            bound,
            measured,
            is_reached,
        })
    }

    fn scaled_goal(&self, row: usize) -> Option<Goal> {
        let scaled = (1..self.columns.len()).find(|column| self.columns[*column].name.starts_with("host ×"))?;
        let times = self.times((row, scaled), (row, 0))?;
        Some(Goal {
            what: self.scenarios[row].name.to_owned(),
            bound: format!(
                "{}: p50 ≤ {SCALED} × {}",
                self.columns[scaled].name, self.columns[0].name
            ),
            measured: format!("{times:.2}"),
            is_reached: times <= SCALED,
        })
    }

    /// The median over the rounds of one cell's p50 divided by another's of the same round.
    fn times(&self, (row, column): (usize, usize), (of_row, of_column): (usize, usize)) -> Option<f64> {
        let p50 = |figures: &Figures| figures.percentile(0.5);
        let rounds = self.figures[row][column].iter().zip(&self.figures[of_row][of_column]);
        median(rounds.map(|(own, of)| p50(own) / p50(of).max(0.001)))
    }
}
