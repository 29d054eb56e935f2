//! `cargo xtask migrate`: brings a database up to date.

use std::time::Duration;

use sugang_migrations::{LockWait, Options, ServiceRole};

use crate::{database::DatabaseChoice, progress::Step};

/// Brings a database up to date: an empty one, one of an earlier version, or one that the Django service made.
///
/// A preflight looks at the whole database first. If anything stands in the way, all of it is printed with its rows and a
/// remedy, nothing is changed, and the exit status is 3. If a newer version has migrated the database, nothing is changed
/// either, and it says whether this version can serve. At the end, requests are rehearsed as the role that serves, and rolled
/// back: if they would fail, the exit status is 3 as well, and the migration is done.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
    /// Change nothing: print what stands in the way, what would be repaired, and what is worth knowing, and rehearse requests
    /// on a database that is up to date
    #[arg(long)]
    check: bool,
    /// Do not rehearse requests at the end
    #[arg(long)]
    no_rehearsal: bool,
    /// The role that is to serve requests: gives it the rights that they need, and no more. SUGANG_ROLE_PASSWORD creates it
    /// where it is missing, and is its password from then on
    #[arg(long, value_name = "ROLE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    grant_to: Option<String>,
    /// Seconds to try to lock the tables; then the exit status is 4, and nothing has been changed
    #[arg(long, default_value_t = LockWait::default().limit.as_secs())]
    lock_wait_s: u64,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("migrate").await?;
    let service_role = arguments.grant_to.clone().map(|name| ServiceRole {
        name,
        password: std::env::var("SUGANG_ROLE_PASSWORD")
            .ok()
            .filter(|password| !password.is_empty()),
    });
    let options = Options {
        check_only: arguments.check,
        skips_rehearsal: arguments.no_rehearsal,
        progress: true,
        wait: LockWait {
            limit: Duration::from_secs(arguments.lock_wait_s),
            ..LockWait::default()
        },
        service_role,
        ..Options::default()
    };
    let migrated = sugang_migrations::migrate_database(&database.url, options).await;
    migrated.and(database.close().await)
}

/// Migrates as a step of another command, and creates the role that is to serve requests.
pub async fn migrate(database_url: &str, service_role: Option<ServiceRole>) -> anyhow::Result<()> {
    let step = Step::loud("Migrate the database");
    let options = Options {
        progress: true,
        service_role,
        ..Options::default()
    };
    sugang_migrations::migrate_database(database_url, options).await?;
    step.done("");
    Ok(())
}
