//! Measures every kind of request against the limit: the same SQL, prepared, without anything around it.
//!
//! The load generator, the host and the stores share this machine, so absolute figures say little elsewhere; every round
//! asks all targets the same in turn, so that what else the machine does meets all of them, and ratios hold.

mod counts;
mod crowd;
mod process;
mod report;
pub mod requests;
mod target;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use console::style;
use tokio::task::JoinSet;
use url::Url;

use crate::{
    database,
    progress::Step,
    project,
    seed::{self, Amounts},
    stores::{Keeper, Lifetime, StoresChoice},
    up,
    wasm::{self, ToolchainChoice},
    workspace,
};
use report::{Figures, Kept, Report};
use requests::{REQUESTS, Request};
use target::{Stores, Target, Worker};

/// Measures requests per second, latencies and CPU time of every kind of request, and writes docs/benchmarks.md.
///
/// Asked are the host here, `spin` where it is on the PATH, and the database itself. Then: a crowd that wants the seats
/// of one exam, the start of the host, the cost of exact counts, and the memory under a long load. The database is one of its own beside that of `cargo xtask up`, seeded once and kept. Everything stays on loopback.
#[derive(clap::Args)]
pub struct Arguments {
    /// Connections at once, each with one request under way.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Seconds for one kind of request, one target and one round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Rounds; figures are their medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=20))]
    rounds: u16,
    /// Exams in the database, and as many courses.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(i64).range(10_000..=10_000_000))]
    rows: i64,
    /// The same again with tables so many times as long, in the same run.
    #[arg(long, value_parser = clap::value_parser!(i64).range(2..=20))]
    scale: Option<i64>,
    /// Keep the host under the mixed load for so many seconds at the end, and look at its memory.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    soak: u64,
    /// Another server of this API that has the demo users, as NAME=URL. May be repeated.
    #[arg(long, value_name = "NAME=URL", value_parser = named_url)]
    against: Vec<(String, Url)>,
    /// Only the requests with this in their name. May be repeated. Nothing is written then.
    #[arg(long)]
    only: Vec<String>,
    /// Measure what was built before, without a look at the sources.
    #[arg(long)]
    no_build: bool,
    #[command(flatten)]
    stores: StoresChoice,
    #[command(flatten)]
    toolchain: ToolchainChoice,
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

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let requests: Vec<_> = REQUESTS
        .iter()
        .filter(|request| arguments.only.is_empty() || arguments.only.iter().any(|part| request.name.contains(part)))
        .collect();
    ensure!(!requests.is_empty(), "no request has such a name");
    let host = match arguments.no_build {
        true => workspace::host()?,
        false => {
            wasm::build(&arguments.toolchain).await?;
            workspace::build_host(&[]).await?
        }
    };
    let keeper = Keeper::start(arguments.stores, Lifetime::Kept).await?;

    let measured = measure(arguments, &keeper, &host, &requests).await;
    let stopped = keeper.stop().await;
    let report = measured?;
    stopped?;

    print!("{}\n{}", report.table(), report.reached());
    if report.errors() > 0 {
        bail!(
            "{} answers were not as they should be; nothing is written",
            report.errors()
        );
    }
    if arguments.only.is_empty() {
        report.write(&project::root()?.join("docs"))?;
    }
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    keeper: &Keeper,
    host: &Path,
    requests: &[&'static Request],
) -> anyhow::Result<Report> {
    let ready = &keeper.ready;
    let mut targets = Vec::new();
    let mut first = None;
    let count = i64::from(arguments.connections);
    let mut users = (0..).map(|group| Users {
        first: group * count + 1,
        count,
    });
    let mut next_users = || users.next().context("there is no end of users");
    let sizes = std::iter::once(1).chain(arguments.scale);
    for times in sizes {
        let stores = Stores {
            database_url: seeded(&ready.database_url, arguments.rows * times).await?,
            redis_url: ready.redis_url.clone(),
            jwt_secret: project::random() + &project::random(),
        };
        let suffix = match times {
            1 => String::new(),
            times => format!(" ×{times}"),
        };
        let served = Target::host(host, &stores, &format!("host{suffix}"), next_users()?).await?;
        let limit = Target::limit(&served, &stores.database_url, &format!("limit{suffix}"), next_users()?).await?;
        targets.extend([served, limit]);
        first.get_or_insert(stores);
    }
    let stores = first.context("there is one size at least")?;
    match up::check_spin().await {
        Ok(()) => targets.push(Target::spin(&stores, next_users()?).await?),
        Err(error) => eprintln!("Without spin: {error:#}"),
    }
    for (name, url) in &arguments.against {
        targets.push(Target::other(name, url, next_users()?).await?);
    }

    let seconds = Duration::from_secs(arguments.seconds);
    let mut report = Report::new(arguments, keeper, &targets, requests).await?;
    // A round that does not count: plans, caches and instances are made in it.
    for round in 0..=arguments.rounds {
        for (row, request) in requests.iter().enumerate() {
            for (column, target) in targets.iter_mut().enumerate() {
                let duration = if round == 0 {
                    Duration::from_millis(500)
                } else {
                    seconds
                };
                let Some(figures) = phase(target, request, duration).await? else {
                    continue;
                };
                if round > 0 {
                    report.add(row, column, figures);
                }
            }
        }
        eprintln!(
            "{} round {round} of {} (0 is the warm-up)",
            style("==>").cyan().bold(),
            arguments.rounds
        );
    }
    for (column, target) in targets.iter().enumerate() {
        report.memory(column, target.memory()?);
    }
    if arguments.soak > 0 {
        let step = Step::loud(format!("The mixed load for {} s", arguments.soak));
        report.also(vec![
            process::soak(&mut targets[0], Duration::from_secs(arguments.soak)).await?,
        ]);
        step.done("");
    }
    // Last: what a crowd took, the allocator keeps.
    if arguments.only.is_empty() {
        report.also(beside(host, &stores, &mut targets[0]).await?);
    }
    for target in targets {
        target.stop().await?;
    }
    Ok(report)
}

/// What is no kind of request; `served` is a host on these stores.
async fn beside(program: &Path, stores: &Stores, served: &mut Target) -> anyhow::Result<Vec<Kept>> {
    let step = Step::loud("What is no kind of request");
    let database = database::connect(&stores.database_url).await?;
    let url = served.server.as_ref().map(|server| server.url.clone());
    let user = served.workers.first().context("nobody asks")?.state.user;
    let mut kept = counts::counts(&database, user).await?;
    kept.extend(counts::searches(served, &database).await?);
    kept.push(crowd::crowd(&url.context("it is not ours")?, &stores.jwt_secret, &database).await?);
    kept.push(process::starts(program, stores, user).await?);
    kept.push(process::component(&wasm::component()?)?);
    step.done("");
    Ok(kept)
}

/// Which demo users a target's workers are.
#[derive(Clone, Copy)]
struct Users {
    first: i64,
    count: i64,
}

/// A database with so many exams and courses beside the given one; made at the first time.
async fn seeded(database_url: &str, rows: i64) -> anyhow::Result<String> {
    let name = format!("sugang_bench_{rows}");
    let client = database::connect(database_url).await?;
    if client
        .query_opt("select from pg_database where datname = $1", &[&name])
        .await?
        .is_none()
    {
        client.batch_execute(&format!("create database {name}")).await?;
    }
    let mut url: Url = database_url.parse().context("the database has no URL")?;
    url.set_path(&name);
    sugang_migrations::run(url.as_str()).await?;
    seed::fill(
        url.as_str(),
        Amounts {
            tests: rows,
            courses: rows,
            users: 1_000,
            registrations: 20_000,
        },
    )
    .await?;
    Ok(url.into())
}

/// All workers of a target ask the same for some time. None: this target does not know the request.
///
/// Before that each asks once, and nobody counts that: a busy service knows how many a search finds, since somebody has
/// asked for it in the last seconds. What it takes to be the first is measured apart.
async fn phase(target: &mut Target, request: &'static Request, duration: Duration) -> anyhow::Result<Option<Figures>> {
    if !target.knows(request) {
        return Ok(None);
    }
    let first = ask_all(target, request, Duration::ZERO).await?;
    let cpu = target.cpu()?;
    let mut figures = ask_all(target, request, duration).await?;
    figures.cpu = target.cpu()?.zip(cpu).map(|(after, before)| after - before);
    figures.errors.extend(first.errors);
    for error in figures.errors.iter().take(3) {
        eprintln!(
            "{} {}, {}: {error}",
            style("error:").red().bold(),
            target.name,
            request.name
        );
    }
    Ok(Some(figures))
}

/// All workers of a target ask the same, for some time and once at least.
async fn ask_all(target: &mut Target, request: &'static Request, duration: Duration) -> anyhow::Result<Figures> {
    let started = Instant::now();
    let mut working = JoinSet::new();
    for worker in target.workers.drain(..) {
        working.spawn(work(worker, request, started + duration));
    }
    let mut figures = Figures::default();
    while let Some(done) = working.join_next().await {
        let (worker, micros, errors) = done??;
        target.workers.push(worker);
        figures.micros.extend(micros);
        figures.errors.extend(errors);
    }
    figures.elapsed = started.elapsed();
    figures.micros.sort_unstable();
    Ok(figures)
}

async fn work(
    mut worker: Worker,
    request: &'static Request,
    until: Instant,
) -> anyhow::Result<(Worker, Vec<u32>, Vec<String>)> {
    let (mut micros, mut errors) = (Vec::new(), Vec::new());
    loop {
        let Some(ask) = (request.ask)(&mut worker.state) else {
            break;
        };
        let sent = Instant::now();
        let reply = worker.send(&ask).await;
        if ask.is_measured {
            micros.push(u32::try_from(sent.elapsed().as_micros())?);
        }
        match reply {
            Ok(reply) if reply.ok => worker.state.learn(&ask, &reply)?,
            Ok(reply) => errors.push(format!(
                "{} {}: {} {}",
                ask.method,
                ask.path,
                reply.status,
                reply.text()
            )),
            Err(error) => {
                errors.push(format!("{} {}: {error:#}", ask.method, ask.path));
                worker.reconnect().await?;
            }
        }
        if Instant::now() >= until {
            break;
        }
    }
    Ok((worker, micros, errors))
}
