//! What came of it: a table and a chart, ratios first.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::Context;

use super::{
    Arguments,
    requests::{Bound, Request},
    target::Target,
};
use crate::{database, project, stores::Keeper};

/// How much longer a request may take on longer tables, at the median.
const TIMES_SCALED: f64 = 1.5;

/// Something that was to be reached, and what was.
pub struct Kept {
    pub what: String,
    pub bound: String,
    pub measured: String,
    pub kept: bool,
}

/// The one in the middle; none where there is none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<_> = figures.into_iter().collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

/// What one target did in one phase.
#[derive(Default)]
pub struct Figures {
    /// How long each request took, sorted.
    pub micros: Vec<u32>,
    /// What was not as it should be.
    pub errors: Vec<String>,
    pub elapsed: Duration,
    /// CPU time of the target's process.
    pub cpu: Option<Duration>,
}

impl Figures {
    fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn percentile(&self, part: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        let at = (last as f64 * part).round() as usize;
        self.micros.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }

    fn cpu_micros(&self) -> f64 {
        self.cpu
            .map_or(0.0, |cpu| cpu.as_secs_f64() * 1e6 / self.micros.len().max(1) as f64)
    }
}

/// All that was measured.
pub struct Report {
    about: String,
    requests: Vec<&'static Request>,
    columns: Vec<Column>,
    also: Vec<Kept>,
    /// By request, then by target: one for each round.
    figures: Vec<Vec<Vec<Figures>>>,
}

struct Column {
    name: String,
    /// The column of the limit of the same database.
    limit: Option<usize>,
    memory: Option<u64>,
}

impl Report {
    /// A report without figures yet, which tells the machine, the versions and the command.
    pub async fn new(
        arguments: &Arguments,
        keeper: &Keeper,
        targets: &[Target],
        requests: &[&'static Request],
    ) -> anyhow::Result<Self> {
        let columns = targets.iter().enumerate().map(|(position, target)| Column {
            name: target.name.clone(),
            limit: match target.is_limit {
                true => None,
                // The host and its limit come in pairs; whatever else there is compares with the first limit.
                false => Some(
                    targets
                        .get(position + 1)
                        .map_or(1, |next| if next.is_limit { position + 1 } else { 1 }),
                ),
            },
            memory: None,
        });
        let columns: Vec<_> = columns.collect();
        Ok(Self {
            about: about(arguments, keeper).await?,
            requests: requests.to_vec(),
            also: Vec::new(),
            figures: requests
                .iter()
                .map(|_| columns.iter().map(|_| Vec::new()).collect())
                .collect(),
            columns,
        })
    }

    pub fn add(&mut self, row: usize, column: usize, figures: Figures) {
        self.figures[row][column].push(figures);
    }

    pub fn also(&mut self, kept: Vec<Kept>) {
        self.also.extend(kept);
    }

    pub fn memory(&mut self, column: usize, bytes: Option<u64>) {
        self.columns[column].memory = bytes;
    }

    /// How many answers were not as they should be.
    pub fn errors(&self) -> usize {
        self.figures
            .iter()
            .flatten()
            .flatten()
            .map(|figures| figures.errors.len())
            .sum()
    }

    fn median(&self, row: usize, column: usize, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        median(self.figures[row][column].iter().map(figure))
    }

    /// The median over the rounds of the ratio to the limit of the same round.
    fn ratio(&self, row: usize, column: usize) -> Option<f64> {
        let limits = &self.figures[row][self.columns[column].limit?];
        let rounds = self.figures[row][column].iter().zip(limits);
        median(rounds.map(|(own, limit)| own.rate() / limit.rate().max(0.001)))
    }

    /// The median over the rounds of one target's p50 as so many times another's of the same round.
    fn times(&self, (row, column): (usize, usize), (of_row, of_column): (usize, usize)) -> Option<f64> {
        let p50 = |figures: &Figures| figures.percentile(0.5);
        let rounds = self.figures[row][column].iter().zip(&self.figures[of_row][of_column]);
        median(rounds.map(|(own, of)| p50(own) / p50(of).max(0.001)))
    }

    /// What a host of our own reached of what it was to reach: the first column, and where there is one with longer tables,
    /// that one compared with it.
    fn bounds(&self) -> Vec<Kept> {
        let mut kept = Vec::new();
        for (row, request) in self.requests.iter().enumerate() {
            for bound in request.bounds {
                let reached = match *bound {
                    Bound::OfLimit(least) => self.ratio(row, 0).map(|ratio| {
                        let bound = format!("≥ {least} of the limit");
                        (bound, format!("{ratio:.2}"), ratio >= least)
                    }),
                    Bound::P99(most) => self.median(row, 0, |figures| figures.percentile(0.99)).map(|p99| {
                        let bound = format!("p99 ≤ {most} ms");
                        (bound, format!("{p99:.1} ms"), p99 <= most)
                    }),
                    Bound::PerSecond(least) => self.median(row, 0, Figures::rate).map(|rate| {
                        let bound = format!("≥ {least} a second");
                        (bound, format!("{rate:.0}"), rate >= least)
                    }),
                    Bound::Times(most, of) => {
                        let of_row = self.requests.iter().position(|request| request.name == of);
                        let times = of_row.and_then(|of_row| self.times((row, 0), (of_row, 0)));
                        times.map(|times| {
                            let bound = format!("p50 ≤ {most} × {of}");
                            (bound, format!("{times:.2}"), times <= most)
                        })
                    }
                };
                kept.extend(reached.map(|(bound, measured, kept)| Kept {
                    what: request.name.to_owned(),
                    bound,
                    measured,
                    kept,
                }));
            }
            let scaled = self
                .scaled()
                .and_then(|scaled| Some((self.times((row, scaled), (row, 0))?, scaled)));
            if let Some((times, scaled)) = scaled {
                kept.push(Kept {
                    what: request.name.to_owned(),
                    bound: format!(
                        "{}: p50 ≤ {TIMES_SCALED} × {}",
                        self.columns[scaled].name, self.columns[0].name
                    ),
                    measured: format!("{times:.2}"),
                    kept: times <= TIMES_SCALED,
                });
            }
        }
        kept
    }

    /// The column of the host with longer tables.
    fn scaled(&self) -> Option<usize> {
        (1..self.columns.len()).find(|column| self.columns[*column].name.starts_with("host ×"))
    }

    /// A Markdown table: what was to be reached, and what was.
    pub fn reached(&self) -> String {
        let mut text = String::from("| what | to reach | reached | |\n|---|---|--:|---|");
        for kept in self.bounds().iter().chain(&self.also) {
            let verdict = if kept.kept { "yes" } else { "**no**" };
            write!(
                text,
                "\n| {} | {} | {} | {verdict} |",
                kept.what, kept.bound, kept.measured
            )
            .ok();
        }
        text + "\n"
    }

    /// A Markdown table: a row for each request, ratios first.
    pub fn table(&self) -> String {
        let mut text = String::from("| request |");
        let served = || self.columns.iter().filter(|column| column.limit.is_some());
        for column in served() {
            write!(text, " {} / limit |", column.name).ok();
        }
        for column in &self.columns {
            write!(text, " {0}: requests/s | p50 | p99 |", column.name).ok();
            if column.limit.is_some() {
                text += " CPU |";
            }
        }
        text += "\n|---|";
        text += &"--:|".repeat(served().count() * 2 + self.columns.len() * 3);
        for (row, request) in self.requests.iter().enumerate() {
            write!(text, "\n| {} |", request.name).ok();
            for column in (0..self.columns.len()).filter(|column| self.columns[*column].limit.is_some()) {
                cell(&mut text, self.ratio(row, column), 2, "");
            }
            for (column, about) in self.columns.iter().enumerate() {
                cell(&mut text, self.median(row, column, Figures::rate), 0, "");
                cell(
                    &mut text,
                    self.median(row, column, |figures| figures.percentile(0.5)),
                    2,
                    " ms",
                );
                cell(
                    &mut text,
                    self.median(row, column, |figures| figures.percentile(0.99)),
                    2,
                    " ms",
                );
                if about.limit.is_some() {
                    let cpu = self
                        .median(row, column, Figures::cpu_micros)
                        .filter(|micros| *micros > 0.0);
                    cell(&mut text, cpu, 0, " µs");
                }
            }
        }
        text += "\n";
        for column in &self.columns {
            if let Some(bytes) = column.memory {
                write!(
                    text,
                    "\nMemory of {} at its highest: {} MB.",
                    column.name,
                    bytes / 1_000_000
                )
                .ok();
            }
        }
        text + "\n"
    }

    /// The chart: for each request, how much of the limit is left.
    fn chart(&self) -> String {
        const ROW: usize = 22;
        const LEFT: usize = 250;
        const WIDTH: f64 = 420.0;
        const COLOURS: [&str; 4] = ["#2f6fab", "#c7772b", "#4a8f4a", "#8a5aa8"];
        let served: Vec<_> = (0..self.columns.len())
            .filter(|column| self.columns[*column].limit.is_some())
            .collect();
        let rows: Vec<_> = (0..self.requests.len())
            .filter(|row| served.iter().any(|column| self.ratio(*row, *column).is_some()))
            .collect();
        let height = (rows.len() * served.len().max(1) + 3) * ROW;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"760\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"18\" font-weight=\"bold\">Requests per second, as a part of the limit</text>\n"
        );
        for tenths in [0, 2, 4, 6, 8, 10] {
            let x = LEFT as f64 + WIDTH * f64::from(tenths) / 10.0;
            writeln!(
                svg,
                "<line x1=\"{x}\" x2=\"{x}\" y1=\"30\" y2=\"{}\" stroke=\"#ddd\"/><text x=\"{x}\" y=\"{}\" \
                 text-anchor=\"middle\" fill=\"#555\">{:.1}</text>",
                height - ROW - 10,
                height - 10,
                f64::from(tenths) / 10.0
            )
            .ok();
        }
        let mut y = 36;
        for row in rows {
            let middle = y + ROW * served.len() / 2;
            let label = self.requests[row].name;
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8,
                middle + 4
            )
            .ok();
            for (position, column) in served.iter().enumerate() {
                let ratio = self.ratio(row, *column).unwrap_or_default();
                writeln!(
                    svg,
                    "<rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\"><title>{}</title></rect>\
                     <text x=\"{:.1}\" y=\"{}\" fill=\"#333\">{ratio:.2}</text>",
                    y + 3,
                    WIDTH * ratio.min(1.1),
                    ROW - 6,
                    COLOURS[position % COLOURS.len()],
                    self.columns[*column].name,
                    LEFT as f64 + WIDTH * ratio.min(1.1) + 5.0,
                    y + ROW / 2 + 5,
                )
                .ok();
                y += ROW;
            }
        }
        svg + "</svg>\n"
    }

    /// Writes `benchmarks.md` and `benchmarks.svg`.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = format!(
            "# Benchmarks\n\n{}\n![Requests per second, as a part of the limit](benchmarks.svg)\n\n{}\n## To reach\n\n{}",
            self.about,
            self.table(),
            self.reached()
        );
        fs::create_dir_all(folder)?;
        fs::write(folder.join("benchmarks.md"), text).context("cannot write docs/benchmarks.md")?;
        fs::write(folder.join("benchmarks.svg"), self.chart()).context("cannot write docs/benchmarks.svg")?;
        eprintln!("Wrote docs/benchmarks.md and docs/benchmarks.svg");
        Ok(())
    }
}

fn cell(text: &mut String, value: Option<f64>, decimals: usize, unit: &str) {
    match value {
        Some(value) => write!(text, " {value:.decimals$}{unit} |").ok(),
        None => write!(text, " – |").ok(),
    };
}

/// What the figures were measured with.
async fn about(arguments: &Arguments, keeper: &Keeper) -> anyhow::Result<String> {
    let client = database::connect(&keeper.ready.database_url).await?;
    let postgres: String = client.query_one("show server_version", &[]).await?.get(0);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown CPU");
    let memory = project::memory().unwrap_or_default();
    let command: Vec<_> = std::env::args().skip(1).collect();
    Ok(format!(
        "Written by `cargo xtask {}`: {} connections, {} rounds of {} s for each request and target, medians of the\n\
         rounds; {} exams and as many courses{}. The limit is the same SQL, prepared, sent by tokio-postgres over as many\n\
         connections. The load generator, the servers and the stores share one machine ({}, {} cores, {} GB; PostgreSQL\n\
         {postgres} from {}), and every round asks all targets in turn: trust the ratios, not the absolute figures. CPU is\n\
         the server's own time for one request, without PostgreSQL's. A login is one Argon2id hash; the limit has none.\n\
         Before a phase each connection asks once, so that the count of a search is known as it is in a busy service.\n",
        command.join(" "),
        arguments.connections,
        arguments.rounds,
        arguments.seconds,
        arguments.rows,
        arguments
            .scale
            .map(|times| format!(", and {times} times as many (×{times})"))
            .unwrap_or_default(),
        cpu.trim_start_matches([' ', '\t', ':']),
        std::thread::available_parallelism()?,
        memory / 1_000_000_000,
        keeper.ready.from,
    ))
}
