//! The figures as a table.

use std::fmt::Write as _;

use super::Report;
use crate::load::Figures;

impl Report {
    /// A Markdown table with a row for each scenario, ratios first.
    pub fn table(&self) -> String {
        let mut text = self.table_head();
        for (row, scenario) in self.scenarios.iter().enumerate() {
            write!(text, "\n| {} |", scenario.name).ok();
            for column in self.served() {
                cell(&mut text, self.ratio(row, column), 2, "");
            }
            for (column, about) in self.columns.iter().enumerate() {
                let percentile = |fraction| self.median(row, column, |figures| figures.percentile(fraction));
                cell(&mut text, self.median(row, column, Figures::rate), 0, "");
                cell(&mut text, percentile(0.5), 2, " ms");
                cell(&mut text, percentile(0.99), 2, " ms");
                if about.limit.is_some() {
                    let cpu = self.median(row, column, Figures::cpu_micros);
                    cell(&mut text, cpu.filter(|micros| *micros > 0.0), 0, " µs");
                }
            }
        }
        text += "\n";
        for column in &self.columns {
            if let Some(bytes) = column.memory {
                let megabytes = bytes / 1_000_000;
                write!(text, "\nMemory of {} at its highest: {megabytes} MB.", column.name).ok();
            }
        }
        text + "\n"
    }

    fn table_head(&self) -> String {
        let mut text = String::from("| request |");
        let served = self.served();
        for column in &served {
            write!(text, " {} / limit |", self.columns[*column].name).ok();
        }
        for column in &self.columns {
            write!(text, " {0}: requests/s | p50 | p99 |", column.name).ok();
            if column.limit.is_some() {
                text += " CPU |";
            }
        }
        text + "\n|---|" + &"--:|".repeat(served.len() * 2 + self.columns.len() * 3)
    }
}

fn cell(text: &mut String, value: Option<f64>, decimals: usize, unit: &str) {
    match value {
        Some(value) => write!(text, " {value:.decimals$}{unit} |").ok(),
        None => write!(text, " – |").ok(),
    };
}
