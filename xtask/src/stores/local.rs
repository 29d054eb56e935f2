//! Stores from the programs of this machine, in a private folder and on free loopback ports.

mod account;
mod cluster;
mod folder;
mod launch;
mod programs;
mod server;

use anyhow::Context;
use nix::sys::signal::Signal;
use sugang_bench::postgres::connect;

use super::{
    choice::{Lifetime, Source},
    command::{Action, Command, Store},
    probe::{free_port, wait_for_postgres, wait_for_redis},
    running::{Processes, RunningStores},
};
use crate::{local_state::LocalState, progress::Step, project};
use account::Account;
use folder::Folder;
use launch::Launch;
use programs::Programs;
use server::Server;

pub use folder::delete;
pub use programs::{MissingPackages, postgres_folders};
pub use server::stop_leftover;

/// The two servers and their folder.
pub struct Local {
    postgres: Server,
    redis: Server,
    lifetime: Lifetime,
    /// Deleted after the servers have ended, where the data are not kept.
    folder: Folder,
}

/// Starts both servers.
///
/// # Errors
/// [`MissingPackages`] when programs are missing.
pub async fn start(lifetime: Lifetime) -> anyhow::Result<(Local, RunningStores)> {
    let programs = Programs::find().await?;
    let step = Step::quiet("Start PostgreSQL and Redis of this machine");
    let account = Account::find()?;
    let (folder, password) = match lifetime {
        Lifetime::Throwaway => (Folder::throwaway(account.as_ref())?, project::random()),
        Lifetime::Kept => {
            let kept = LocalState::open()?;
            (Folder::kept(&kept, account.as_ref())?, kept.stores_password)
        }
    };
    let (postgres_port, redis_port) = (free_port()?, free_port()?);
    let description = format!("this machine's {programs}, data in {}", folder.path().display());
    let data = folder.path().join("postgres");
    let programs = programs.for_data(&data)?;
    if !data.join("PG_VERSION").exists() {
        cluster::initialize(&programs.initdb, &data, &password, account.as_ref())?;
    }

    let postgres = postgres_launch(&programs, &folder, account.as_ref(), postgres_port, lifetime);
    let redis = redis_launch(&programs, &folder, account.as_ref(), redis_port, &password, lifetime)?;
    let mut local = Local {
        postgres: Server::start(postgres, Signal::SIGINT, Signal::SIGQUIT)?,
        redis: Server::start(redis, Signal::SIGTERM, Signal::SIGKILL)?,
        lifetime,
        folder,
    };
    let running = RunningStores {
        database_url: format!("postgres://sugang:{password}@127.0.0.1:{postgres_port}/sugang"),
        redis_url: format!("redis://:{password}@127.0.0.1:{redis_port}/0"),
        from: Source::Local,
        description,
        processes: Processes {
            postgres_pid: Some(local.postgres.id()),
            redis_pid: Some(local.redis.id()),
            ..Processes::default()
        },
    };
    if let Err(error) = local.wait_until_ready(&running).await {
        local.end().await?;
        return Err(error);
    }
    step.done("");
    Ok((local, running))
}

fn postgres_launch(
    programs: &Programs,
    folder: &Folder,
    account: Option<&Account>,
    port: u16,
    lifetime: Lifetime,
) -> Launch {
    let log = folder.path().join("postgres.log");
    let mut launch = Launch::new(programs.postgres.clone(), account.cloned(), log);
    launch.arguments(["-D", &folder.path().join("postgres").to_string_lossy()]);
    launch.arguments(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    // No socket file: in a deep folder its path would be too long.
    launch.arguments(["-c", "unix_socket_directories="]);
    for setting in lifetime.postgres_settings() {
        launch.arguments(["-c", &setting]);
    }
    launch
}

fn redis_launch(
    programs: &Programs,
    folder: &Folder,
    account: Option<&Account>,
    port: u16,
    password: &str,
    lifetime: Lifetime,
) -> anyhow::Result<Launch> {
    let data = folder.path().join("redis");
    folder::make(&data, account)?;
    let log = folder.path().join("redis.log");
    let mut launch = Launch::new(programs.redis_server.clone(), account.cloned(), log);
    launch.arguments(["-"]);
    // Through standard input: other users of the machine can read arguments.
    launch.stdin = format!(
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir \"{}\"\nsave \"{}\"\ndaemonize no\n",
        data.display(),
        lifetime.redis_save()
    );
    Ok(launch)
}

impl Local {
    async fn wait_until_ready(&mut self, running: &RunningStores) -> anyhow::Result<()> {
        let server = running.database_url.strip_suffix("/sugang");
        let maintenance = format!("{}/postgres", server.context("the database is called sugang")?);
        wait_for_postgres(&maintenance, &mut || self.postgres.ensure_alive()).await?;
        let client = connect(&maintenance).await?;
        let exists = client
            .query_opt("select from pg_database where datname = 'sugang'", &[])
            .await?;
        if exists.is_none() {
            client.batch_execute("create database sugang").await?;
        }
        wait_for_redis(&running.redis_url, &mut || self.redis.ensure_alive()).await
    }

    /// Executes a command.
    pub async fn handle(&mut self, command: Command) -> anyhow::Result<()> {
        let server = match command.store {
            Store::Postgres => &mut self.postgres,
            Store::Redis => &mut self.redis,
        };
        match command.action {
            Action::Stop => server.stop().await,
            Action::Kill => server.kill().await,
            Action::Start => server.restart(),
            Action::Freeze => server.signal_all(Signal::SIGSTOP),
            Action::Thaw => server.signal_all(Signal::SIGCONT),
        }
    }

    /// Ends both servers, and deletes data that are not kept.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for server in [&mut self.postgres, &mut self.redis] {
            match self.lifetime {
                Lifetime::Throwaway => server.kill().await?,
                Lifetime::Kept => server.stop().await?,
            }
        }
        self.folder.end()
    }
}
