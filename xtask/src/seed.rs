//! Fills a database with a catalogue, demo users, and what they have registered and paid for.
//!
//! Everything is made up by the server itself, in the functions of `seed.sql`; nothing but progress crosses the wire.
//! Each kind is one transaction on a connection of its own: a run that is killed leaves nothing of the kind it was at,
//! and the next run makes it.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use argon2::{Argon2, PasswordHasher};
use futures::future::try_join_all;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use tokio_postgres::Client;

use crate::database::{DatabaseChoice, connect};

/// The password of every demo user.
pub const DEMO_PASSWORD: &str = "sugang-demo-1";

/// Rows per statement: enough that a statement's own cost does not show, few enough that progress does.
const BATCH: i64 = 50_000;

/// The address of the demo user with this number, from 1 on.
pub fn demo_email(number: i64) -> String {
    format!("demo{number}@example.com")
}

/// Fills the database with a catalogue, demo users, registrations and payments.
///
/// The numbers are totals: a kind that has so many rows already is left alone, one that has fewer gets the rest, so the
/// same command twice changes nothing. Registrations are added only to a kind that has none. The same numbers on the
/// same day write the same rows into an empty database. While a kind is filled, its table is locked.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    amounts: Amounts,
    #[command(flatten)]
    database: DatabaseChoice,
}

/// How many rows there are to be.
#[derive(clap::Args, Clone, Copy)]
pub struct Amounts {
    /// Exams.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(0..=50_000_000))]
    pub tests: i64,
    /// Courses.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(0..=50_000_000))]
    pub courses: i64,
    /// Users: demo1@example.com and so on, each with the password sugang-demo-1.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub users: i64,
    /// Registrations with their payments, half of them for exams; fewer where there is too little to register for.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(i64).range(0..=10_000_000))]
    pub registrations: i64,
}

impl Amounts {
    fn of(self, kind: &str) -> i64 {
        match kind {
            "test" => self.tests,
            "course" => self.courses,
            _ => 0,
        }
    }
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open().await?;
    sugang_migrations::run(&database.url).await?;
    fill(&database.url, arguments.amounts).await?;
    database.close().await
}

/// Fills a migrated database up to the amounts.
///
/// # Errors
/// When the database cannot be reached, another run is at it, or a statement fails; a kind is filled wholly or not.
pub async fn fill(database_url: &str, amounts: Amounts) -> anyhow::Result<()> {
    let started = Instant::now();
    let main = connect(database_url).await?;
    let alone: bool = main
        .query_one("select pg_try_advisory_lock(hashtextextended('sugang.seed', 0))", &[])
        .await?
        .get(0);
    ensure!(alone, "another `cargo xtask seed` is at work on this database");

    add_users(&main, amounts.users).await?;
    let kinds = main
        .query("select kind, items, registrations from sugang.kinds order by kind", &[])
        .await?;
    let lines = MultiProgress::new();
    let share = amounts.registrations / i64::try_from(kinds.len())?.max(1);
    let kinds = kinds.iter().map(|row| Kind {
        name: row.get(0),
        items: row.get(1),
        registrations: row.get(2),
        progress: Progress::new(&lines, row.get(1)),
    });
    let kinds: Vec<_> = kinds.collect();
    try_join_all(
        kinds
            .iter()
            .map(async |kind| kind.fill(&connect(database_url).await?, amounts, share).await),
    )
    .await?;
    // Not before all have committed: rows that an older transaction might not see cannot be marked as visible to all,
    // and without that mark every index-only scan reads the table too.
    try_join_all(
        kinds
            .iter()
            .map(async |kind| kind.vacuum(&connect(database_url).await?).await),
    )
    .await?;
    main.batch_execute("vacuum (analyze) users, payments, sugang.history, sugang.tally")
        .await?;
    eprintln!(
        "Seeded in {:.1} s. Log in as {} with {DEMO_PASSWORD}",
        started.elapsed().as_secs_f64(),
        demo_email(1)
    );
    Ok(())
}

async fn add_users(client: &Client, users: i64) -> anyhow::Result<()> {
    // The library's defaults are the API's parameters. One hash for all: computing it is slow on purpose.
    let hash = Argon2::default()
        .hash_password(DEMO_PASSWORD.as_bytes())
        .context("cannot hash the demo password")?;
    client
        .execute(
            "insert into users (email, username, password)
             select 'demo' || n || '@example.com', 'demo' || n, $2 from generate_series(1, $1::bigint) n
             where not exists (select from users where lower(email) = 'demo' || n || '@example.com') order by n
             on conflict do nothing",
            &[&users, &hash.to_string()],
        )
        .await?;
    Ok(())
}

struct Kind {
    name: String,
    items: String,
    registrations: String,
    progress: Progress,
}

impl Kind {
    async fn fill(&self, client: &Client, amounts: Amounts, share: i64) -> anyhow::Result<()> {
        let Self {
            name,
            items,
            registrations,
            progress,
        } = self;
        let count = async |table: &str| -> anyhow::Result<i64> {
            Ok(client
                .query_one(&format!("select count(*) from {table}"), &[])
                .await?
                .get(0))
        };
        let there = count(items).await?;
        let wanted = amounts.of(name);
        let share = if count(registrations).await? == 0 { share } else { 0 };
        if there >= wanted && share == 0 {
            progress.phase("all there already");
            return Ok(());
        }

        client
            .batch_execute("set maintenance_work_mem = '512MB'; set work_mem = '256MB'; set jit = off")
            .await?;
        client.batch_execute(include_str!("seed.sql")).await?;
        client.batch_execute("begin").await?;
        // Indexes are built faster than kept, unless it is a few rows more for a long table.
        let again = if wanted - there > there {
            client.query(&format!("select pg_temp.begin_{name}()"), &[]).await?
        } else {
            Vec::new()
        };
        progress.rows(wanted - there);
        for from in (there + 1..=wanted).step_by(usize::try_from(BATCH)?) {
            let upto = wanted.min(from + BATCH - 1);
            client
                .execute(
                    &format!("select pg_temp.items_{name}($1, $2, date_trunc('day', now(), 'UTC'))"),
                    &[&from, &upto],
                )
                .await?;
            progress.wrote(upto - from + 1);
        }
        if share > 0 {
            progress.phase("registrations and payments");
            client
                .execute(
                    &format!(
                        "select pg_temp.registrations_{name}(
                            array(select 'demo' || n || '@example.com' from generate_series(1, $1::bigint) n),
                            $2, date_trunc('day', now(), 'UTC'))"
                    ),
                    &[&amounts.users, &share],
                )
                .await?;
        }
        for (position, statement) in again.iter().enumerate() {
            progress.phase(&format!(
                "triggers, counts and indexes, {} of {}",
                position + 1,
                again.len()
            ));
            client.batch_execute(statement.get(0)).await?;
        }
        client.batch_execute("commit").await?;
        progress.phase("written");
        Ok(())
    }

    async fn vacuum(&self, client: &Client) -> anyhow::Result<()> {
        self.progress.phase("vacuum and analyze");
        client
            .batch_execute(&format!("vacuum (analyze) {}, {}", self.items, self.registrations))
            .await?;
        let rows: i64 = client
            .query_one(&format!("select count(*) from {}", self.items), &[])
            .await?
            .get(0);
        self.progress.done(&format!("{} rows", HumanCount(rows.unsigned_abs())));
        Ok(())
    }
}

/// What one kind's connection is at: a bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    label: String,
    terminal: bool,
}

impl Progress {
    fn new(lines: &MultiProgress, label: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = lines.add(ProgressBar::new(0).with_prefix(label.to_owned()));
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:10} [{bar:30}] {human_pos}/{human_len} rows ({per_sec:.0}) {msg} [{elapsed}]",
        ) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            label: label.to_owned(),
            terminal,
        }
    }

    fn rows(&self, rows: i64) {
        self.bar.set_length(rows.unsigned_abs());
        self.bar.reset();
        self.phase("rows");
    }

    fn wrote(&self, rows: i64) {
        self.bar.inc(rows.unsigned_abs());
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let tenth = (all / 10).max(1);
        if done == all || done / tenth > (done - rows.unsigned_abs()) / tenth {
            let rate = done as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
            self.line(&format!("{}/{} rows ({rate:.0}/s)", HumanCount(done), HumanCount(all)));
        }
    }

    fn phase(&self, name: &str) {
        self.bar.set_message(name.to_owned());
        self.line(name);
    }

    fn done(&self, outcome: &str) {
        self.bar.finish_with_message(outcome.to_owned());
        self.line(&format!("done: {outcome}"));
    }

    fn line(&self, text: &str) {
        if !self.terminal {
            eprintln!("{}: {text} [{:.1} s]", self.label, self.bar.elapsed().as_secs_f64());
        }
    }
}
