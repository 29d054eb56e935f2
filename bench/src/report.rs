//! The report: figures of all rounds, as a table and a chart with the ratios first.

mod chart;
mod goals;
mod table;

use std::{fs, path::Path};

use anyhow::Context;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::{
    catalogue::Scenario,
    goal::{Goal, median},
    load::Figures,
    target::Target,
};

/// What the figures were measured with.
pub(crate) struct Conditions {
    pub connections: u16,
    pub rounds: u16,
    pub seconds: u64,
    pub rows: i64,
    pub scale: Option<i64>,
    /// The version of PostgreSQL.
    pub postgres: String,
    /// What the stores are.
    pub stores: String,
}

/// All figures of a run.
pub(crate) struct Report {
    conditions: Conditions,
    scenarios: Vec<&'static Scenario>,
    columns: Vec<Column>,
    goals: Vec<Goal>,
    /// By scenario, then by target: one for each round.
    figures: Vec<Vec<Vec<Figures>>>,
}

/// One target.
struct Column {
    name: String,
    /// The column of the limit of the same database; `None` for a limit.
    limit: Option<usize>,
    memory: Option<u64>,
}

impl Report {
    /// A report without figures.
    pub fn new(conditions: Conditions, targets: &[Target], scenarios: &[&'static Scenario]) -> Self {
        let columns = targets.iter().enumerate().map(|(position, target)| Column {
            name: target.name.clone(),
            limit: match target.is_limit {
                true => None,
                // A host and its limit come in pairs; every other server is compared with the first limit.
                false => Some(match targets.get(position + 1) {
                    Some(next) if next.is_limit => position + 1,
                    _ => 1,
                }),
            },
            memory: None,
        });
        let columns: Vec<_> = columns.collect();
        Self {
            conditions,
            scenarios: scenarios.to_vec(),
            goals: Vec::new(),
            figures: scenarios
                .iter()
                .map(|_| columns.iter().map(|_| Vec::new()).collect())
                .collect(),
            columns,
        }
    }

    /// Adds one round of a scenario and a target, both by their position.
    pub fn add(&mut self, row: usize, column: usize, figures: Figures) {
        self.figures[row][column].push(figures);
    }

    /// Adds goals that belong to no scenario.
    pub fn add_goals(&mut self, goals: impl IntoIterator<Item = Goal>) {
        self.goals.extend(goals);
    }

    /// Sets the highest memory of a target, in bytes.
    pub fn set_memory(&mut self, column: usize, bytes: Option<u64>) {
        self.columns[column].memory = bytes;
    }

    /// The number of responses that were not as expected.
    pub fn errors(&self) -> usize {
        let figures = self.figures.iter().flatten().flatten();
        figures.map(|figures| figures.errors.len()).sum()
    }

    /// The positions of the targets that are servers.
    fn served(&self) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|column| self.columns[*column].limit.is_some())
            .collect()
    }

    /// The median of a figure over the rounds.
    fn median(&self, row: usize, column: usize, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        median(self.figures[row][column].iter().map(figure))
    }

    /// The median over the rounds of the ratio to the limit of the same round.
    fn ratio(&self, row: usize, column: usize) -> Option<f64> {
        let limits = &self.figures[row][self.columns[column].limit?];
        let rounds = self.figures[row][column].iter().zip(limits);
        median(rounds.map(|(own, limit)| own.rate() / limit.rate().max(0.001)))
    }

    /// Writes `benchmarks.md` and `benchmarks.svg`.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = format!(
            "# Benchmarks\n\n{}\n![Requests per second, as a fraction of the limit](benchmarks.svg)\n\n{}\n## Goals\n\n{}",
            self.about()?,
            self.table(),
            self.goals_table()
        );
        fs::create_dir_all(folder)?;
        fs::write(folder.join("benchmarks.md"), text).context("cannot write docs/benchmarks.md")?;
        fs::write(folder.join("benchmarks.svg"), self.chart()).context("cannot write docs/benchmarks.svg")?;
        eprintln!("Wrote docs/benchmarks.md and docs/benchmarks.svg");
        Ok(())
    }

    /// The command, the machine and the versions.
    fn about(&self) -> anyhow::Result<String> {
        let machine = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        let machine = System::new_with_specifics(machine).context("this machine does not describe itself")?;
        let command: Vec<_> = std::env::args().skip(1).collect();
        let Conditions {
            connections,
            rounds,
            seconds,
            rows,
            scale,
            postgres,
            stores,
        } = &self.conditions;
        let scale = scale.map(|times| format!(", and {times} times as many (×{times})"));
        Ok(format!(
            "Written by `cargo xtask {}`: {connections} connections, {rounds} rounds of {seconds} s for each request and\n\
             target, medians of the rounds; {rows} exams and as many courses{}. The limit is the same SQL, prepared, sent\n\
             by tokio-postgres over as many connections. The load generator, the servers and the stores share one machine\n\
             ({}, {} cores, {} GB; PostgreSQL {postgres} from {stores}), and every round sends to all targets in turn:\n\
             trust the ratios, not the absolute figures. CPU is the server's own time for one request, without\n\
             PostgreSQL's. A login is one Argon2id hash; the limit has none. Before a phase each connection sends one\n\
             request that is not measured, so that the count of a search is known as it is in a busy service.\n",
            command.join(" "),
            scale.unwrap_or_default(),
            machine.cpus().first().map_or("unknown CPU", |cpu| cpu.brand()),
            std::thread::available_parallelism()?,
            machine.total_memory() / 1_000_000_000,
        ))
    }
}
