//! One run of the bench: sets up the targets, sends the load in rounds, checks the goals, writes the report.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use console::style;
use url::Url;
use uuid::Uuid;

use crate::{
    catalogue::{SCENARIOS, Scenario},
    dataset::seeded,
    goal::Goal,
    goals, load, postgres,
    report::{Conditions, Report},
    server::Stores,
    target::{Target, Users},
};

/// How long each phase of the unmeasured first round takes.
const WARM_UP: Duration = Duration::from_millis(500);

/// The name by which the goals of orders are measured alone.
const ORDERS: &str = "orders";

/// What to measure, and for how long.
#[derive(clap::Args)]
pub struct Options {
    /// Connections at once, each with one request in flight.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Seconds for each kind of request, target and round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Rounds; figures are their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=20))]
    rounds: u16,
    /// Exams in the database, and as many courses.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(10_000..=10_000_000))]
    rows: i64,
    /// Measure tables that are this many times as long too, in the same run.
    #[arg(long, value_parser = clap::value_parser!(i64).range(2..=20))]
    scale: Option<i64>,
    /// Keep the host under the mixed load for this many seconds at the end, and sample its memory.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    soak: u64,
    /// Another server of this API that has the demo users, as NAME=URL. May be repeated.
    #[arg(long, value_name = "NAME=URL", value_parser = named_url)]
    against: Vec<(String, Url)>,
    /// Only the requests with this in their name, or `orders`: those at a payment gateway. May be repeated. No report is written then.
    #[arg(long)]
    only: Vec<String>,
}

/// What the bench runs on.
pub struct Environment {
    /// The checkout: the report is written to its `docs/`.
    pub project: PathBuf,
    /// The program `sugang-host`.
    pub host: PathBuf,
    /// The component.
    pub component: PathBuf,
    /// A database on the server to measure on. Its user may create databases.
    pub database_url: String,
    /// `redis://…`
    pub redis_url: String,
    /// What the stores are, for the report.
    pub stores: String,
    /// Whether the `PATH` has a Spin that serves the component.
    pub has_spin: bool,
}

fn named_url(text: &str) -> anyhow::Result<(String, Url)> {
    let (name, url) = text.split_once('=').context("must be NAME=URL")?;
    let url: Url = url.parse()?;
    ensure!(
        url.scheme() == "http" && url.host_str().is_some(),
        "{url} is not an http:// address"
    );
    Ok((name.to_owned(), url))
}

/// Measures, prints the tables, and writes `docs/benchmarks.md` and `docs/benchmarks.svg`.
///
/// # Errors
/// When a target cannot be set up, or a response is not as expected.
pub async fn run(options: &Options, environment: &Environment) -> anyhow::Result<()> {
    let is_wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|part| name.contains(part));
    let scenarios: Vec<_> = SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)).collect();
    ensure!(!scenarios.is_empty() || is_wanted(ORDERS), "no request has such a name");

    let mut bench = Bench::set_up(options, environment).await?;
    let mut report = Report::new(bench.conditions().await?, &bench.targets, &scenarios);
    bench.send_load(&scenarios, &mut report).await?;
    bench.check_goals(&mut report).await?;
    bench.stop().await?;

    print!("{}\n{}", report.table(), report.goals_table());
    if report.errors() > 0 {
        bail!(
            "{} responses were not as expected; no report is written",
            report.errors()
        );
    }
    if options.only.is_empty() {
        report.write(&environment.project.join("docs"))?;
    }
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    environment: &'a Environment,
    /// The host first, then its limit; the same pair for longer tables; then all other servers.
    targets: Vec<Target>,
    /// What the first host works on.
    stores: Stores,
}

impl<'a> Bench<'a> {
    async fn set_up(options: &'a Options, environment: &'a Environment) -> anyhow::Result<Self> {
        let count = i64::from(options.connections);
        let mut groups = 0_i64..;
        let mut users = || {
            let first = groups.next().context("the numbers never end")? * count + 1;
            anyhow::Ok(Users { first, count })
        };
        // All of it before the first host has connections: they are closed when nothing comes.
        let mut databases = Vec::new();
        for times in std::iter::once(1).chain(options.scale) {
            let database_url = seeded(&environment.database_url, options.rows * times).await?;
            heading("Bitmaps of frequent words, as sweeps make them");
            goals::count_ahead(&database_url).await?;
            databases.push((times, database_url));
        }
        let mut targets = Vec::new();
        let mut first = None;
        for (times, database_url) in databases {
            let stores = Stores {
                database_url,
                redis_url: environment.redis_url.clone(),
                jwt_secret: Uuid::new_v4().to_string(),
                project: environment.project.clone(),
            };
            let suffix = match times {
                1 => String::new(),
                times => format!(" ×{times}"),
            };
            let host = Target::host(&environment.host, &stores, &format!("host{suffix}"), users()?).await?;
            let limit = Target::limit(&host, &stores.database_url, &format!("limit{suffix}"), users()?).await?;
            targets.extend([host, limit]);
            first.get_or_insert(stores);
        }
        let stores = first.context("there is at least one size")?;
        if environment.has_spin {
            targets.push(Target::spin(&stores, users()?).await?);
        }
        for (name, url) in &options.against {
            targets.push(Target::running(name, url, users()?).await?);
        }
        Ok(Self {
            options,
            environment,
            targets,
            stores,
        })
    }

    async fn conditions(&self) -> anyhow::Result<Conditions> {
        let database = postgres::connect(&self.environment.database_url).await?;
        Ok(Conditions {
            connections: self.options.connections,
            rounds: self.options.rounds,
            seconds: self.options.seconds,
            rows: self.options.rows,
            scale: self.options.scale,
            postgres: database.query_one("show server_version", &[]).await?.get(0),
            stores: self.environment.stores.clone(),
        })
    }

    async fn send_load(&mut self, scenarios: &[&'static Scenario], report: &mut Report) -> anyhow::Result<()> {
        // Round 0 is not measured: it makes plans, caches and instances.
        for round in 0..=self.options.rounds {
            let duration = match round {
                0 => WARM_UP,
                _ => Duration::from_secs(self.options.seconds),
            };
            for (row, scenario) in scenarios.iter().enumerate() {
                for (column, target) in self.targets.iter_mut().enumerate() {
                    let figures = load::phase(target, scenario, duration).await?;
                    if let Some(figures) = figures.filter(|_| round > 0) {
                        report.add(row, column, figures);
                    }
                }
            }
            heading(&format!("round {round} of {} (0 is the warm-up)", self.options.rounds));
        }
        for (column, target) in self.targets.iter().enumerate() {
            report.set_memory(column, target.highest_memory()?);
        }
        Ok(())
    }

    async fn check_goals(&mut self, report: &mut Report) -> anyhow::Result<()> {
        if self.options.soak > 0 {
            heading(&format!("The mixed load for {} s", self.options.soak));
            let duration = Duration::from_secs(self.options.soak);
            report.add_goals([goals::soak(&mut self.targets[0], duration).await?]);
        }
        if self.options.only.iter().any(|part| ORDERS.contains(part.as_str())) {
            report.add_goals(self.orders().await?);
        }
        // Last: the allocator keeps the memory that the overload takes.
        if self.options.only.is_empty() {
            heading("Counts, overload and start-up");
            report.add_goals(self.other_goals().await?);
        }
        Ok(())
    }

    async fn other_goals(&mut self) -> anyhow::Result<Vec<Goal>> {
        let Environment { host, component, .. } = self.environment;
        let database = postgres::connect(&self.stores.database_url).await?;
        let served = &mut self.targets[0];
        let user = served.workers.first().context("the host has no worker")?.state.user;
        let (secret, rows) = (&self.stores.jwt_secret, self.options.rows);
        let mut reached = goals::counts(&database, user).await?;
        reached.extend(goals::first_searches(served, &database).await?);
        reached.extend(goals::periods(served, &database).await?);
        let server = served.server.as_ref().context("the bench started the host")?;
        let url = &server.url;
        // After what needs the connections of the workers: the host closes idle ones while registrations are made.
        reached.extend(goals::operators(server, secret, &database, user, rows).await?);
        reached.push(goals::import(url, secret, &database).await?);
        reached.push(goals::overload(url, secret, &database).await?);
        reached.extend(self.orders().await?);
        reached.push(goals::starts(host, &self.stores, user).await?);
        reached.push(goals::component_size(component)?);
        Ok(reached)
    }

    async fn orders(&self) -> anyhow::Result<Vec<Goal>> {
        let database = postgres::connect(&self.stores.database_url).await?;
        goals::orders(&self.environment.host, &self.stores, &database).await
    }

    async fn stop(self) -> anyhow::Result<()> {
        for target in self.targets {
            target.stop().await?;
        }
        Ok(())
    }
}

fn heading(text: &str) {
    eprintln!(
        "{} {}",
        style("==>").cyan().bold().for_stderr(),
        style(text).bold().for_stderr()
    );
}
