//! Fills a database with a catalogue, demo users, and their registrations and payments.
//!
//! The server itself makes up all rows, in the functions of `seed.sql` and `seed_kind.sql`; only progress crosses the
//! wire. Each kind is one transaction on its own connection: a run that is killed leaves no partial kind, and the next
//! run fills it.

mod progress;

use std::time::Instant;

use anyhow::{Context, ensure};
use argon2::{Argon2, PasswordHasher};
use futures::future::try_join_all;
use indicatif::{HumanCount, MultiProgress};
use sugang_migrations::{ItemKind, KINDS};
use tokio_postgres::Client;

use crate::postgres::connect;
use progress::Progress;

/// The password of every demo user.
pub(crate) const DEMO_PASSWORD: &str = "sugang-demo-1";

/// Rows per statement: enough to hide a statement's own cost, few enough to show progress.
const BATCH: i64 = 50_000;

/// The address of the demo user with this number, from 1 on.
pub(crate) fn demo_email(number: i64) -> String {
    format!("demo{number}@example.com")
}

/// How many rows of each table a database gets.
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
    /// Registrations with their payments, half of them for exams; fewer where too few items are open.
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

/// Fills a migrated database up to the amounts.
///
/// # Errors
/// When the database cannot be reached, another run fills it, or a statement fails. A kind that fails gets no row.
pub async fn fill(database_url: &str, amounts: Amounts) -> anyhow::Result<()> {
    let started = Instant::now();
    let main = connect(database_url).await?;
    let alone: bool = main
        .query_one("select pg_try_advisory_lock(hashtextextended('sugang.seed', 0))", &[])
        .await?
        .get(0);
    ensure!(alone, "another `cargo xtask seed` fills this database");

    add_users(&main, amounts.users).await?;
    let lines = MultiProgress::new();
    let share = amounts.registrations / i64::try_from(KINDS.len())?.max(1);
    let kinds = KINDS.iter().map(|kind| Kind {
        kind,
        progress: Progress::new(&lines, kind.items),
    });
    let kinds: Vec<_> = kinds.collect();
    try_join_all(
        kinds
            .iter()
            .map(async |kind| kind.fill(&connect(database_url).await?, amounts, share).await),
    )
    .await?;
    // After all have committed: vacuum cannot mark a row as visible to all while an older transaction might not see it,
    // and without that mark an index-only scan reads the table too.
    try_join_all(
        kinds
            .iter()
            .map(async |kind| kind.vacuum(&connect(database_url).await?).await),
    )
    .await?;
    main.batch_execute("vacuum (analyze) users, payments, sugang.audit_log, sugang.bucket_counts")
        .await?;
    eprintln!(
        "Seeded in {:.1} s. Log in as {} with {DEMO_PASSWORD}",
        started.elapsed().as_secs_f64(),
        demo_email(1)
    );
    Ok(())
}

async fn add_users(client: &Client, users: i64) -> anyhow::Result<()> {
    // The library's defaults are the API's parameters. All users share one hash, since computing it is slow on purpose.
    let hash = Argon2::default()
        .hash_password(DEMO_PASSWORD.as_bytes())
        .context("cannot hash the demo password")?;
    client
        .execute(
            "insert into users (email, username, password)
             select 'demo' || n || '@example.com', 'demo' || n, $2 from generate_series(1, $1::bigint) n
             where not exists (select from users where sugang.email_key(email) = 'demo' || n || '@example.com') order by n
             on conflict do nothing",
            &[&users, &hash.to_string()],
        )
        .await?;
    Ok(())
}

struct Kind {
    kind: &'static ItemKind,
    progress: Progress,
}

impl Kind {
    async fn fill(&self, client: &Client, amounts: Amounts, share: i64) -> anyhow::Result<()> {
        let there = count(client, self.kind.items).await?;
        let wanted = amounts.of(self.kind.kind);
        let has_registrations = count(client, self.kind.registrations).await? > 0;
        let share = if has_registrations { 0 } else { share };
        if there >= wanted && share == 0 {
            self.progress.phase("complete already");
            return Ok(());
        }
        client
            .batch_execute("set maintenance_work_mem = '512MB'; set work_mem = '256MB'; set jit = off")
            .await?;
        client.batch_execute(include_str!("seed.sql")).await?;
        client
            .batch_execute(&self.kind.expand(include_str!("seed_kind.sql")))
            .await?;
        client.batch_execute("begin").await?;
        // Building indexes is faster than keeping them, unless a long table gets only a few rows more.
        let postponed = if wanted - there > there {
            let begin = format!("select pg_temp.begin_{}()", self.kind.kind);
            client.query(&begin, &[]).await?
        } else {
            Vec::new()
        };
        self.add_items(client, there, wanted).await?;
        if share > 0 {
            self.add_registrations(client, amounts.users, share).await?;
        }
        for (position, statement) in postponed.iter().enumerate() {
            let (number, all) = (position + 1, postponed.len());
            self.progress
                .phase(&format!("triggers, counts and indexes, {number} of {all}"));
            client.batch_execute(statement.get(0)).await?;
        }
        client.batch_execute("commit").await?;
        self.progress.phase("written");
        Ok(())
    }

    async fn add_items(&self, client: &Client, there: i64, wanted: i64) -> anyhow::Result<()> {
        let items = format!(
            "select pg_temp.items_{}($1, $2, date_trunc('day', now(), 'UTC'))",
            self.kind.kind
        );
        self.progress.rows(wanted - there);
        for from in (there + 1..=wanted).step_by(usize::try_from(BATCH)?) {
            let upto = wanted.min(from + BATCH - 1);
            client.execute(&items, &[&from, &upto]).await?;
            self.progress.wrote(upto - from + 1);
        }
        Ok(())
    }

    async fn add_registrations(&self, client: &Client, users: i64, share: i64) -> anyhow::Result<()> {
        self.progress.phase("registrations and payments");
        let registrations = format!(
            "select pg_temp.registrations_{}(
                array(select 'demo' || n || '@example.com' from generate_series(1, $1::bigint) n),
                $2, date_trunc('day', now(), 'UTC'))",
            self.kind.kind
        );
        client.execute(&registrations, &[&users, &share]).await?;
        Ok(())
    }

    async fn vacuum(&self, client: &Client) -> anyhow::Result<()> {
        self.progress.phase("vacuum and analyze");
        client
            .batch_execute(&format!(
                "vacuum (analyze) {}, sugang.{}_search, {}",
                self.kind.items, self.kind.kind, self.kind.registrations
            ))
            .await?;
        let rows = count(client, self.kind.items).await?;
        self.progress.done(&format!("{} rows", HumanCount(rows.unsigned_abs())));
        Ok(())
    }
}

async fn count(client: &Client, table: &str) -> anyhow::Result<i64> {
    let count = format!("select count(*) from {table}");
    Ok(client.query_one(&count, &[]).await?.get(0))
}
