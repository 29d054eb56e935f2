//! `sugang-host`: serves the application of a `spin.toml`, migrates its database, audits it, or makes its operators.

mod arguments;

use std::{io, process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser as _;
use sugang_host::{Application, Settings, flush_log, log_notice, log_panics, queue_log};
use sugang_migrations::Format;
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Arguments, Command, Serve};

/// How long the process waits for the readers of its output before it ends.
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    log_panics();
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Migrate(migrate)) => {
            let url = migrate.database.url();
            let work = async { sugang_migrations::migrate_database(&url?, migrate.options()?).await };
            run(1, work)
        }
        Some(Command::Audit(arguments)) => {
            let url = arguments.database.url();
            url.and_then(|url| run(1, audit(&url, arguments.json)))
        }
        Some(Command::Operator(arguments)) => {
            let url = arguments.database.url();
            url.and_then(|url| run(1, sugang_migrations::manage_operators(&url, &arguments.command)))
        }
        Some(Command::Sweep(arguments)) => run(1, sweep(arguments)),
        Some(Command::Serve(serve_arguments)) => run(serve_arguments.threads, serve(serve_arguments)),
        None => run(arguments.serve.threads, serve(&arguments.serve)),
    };
    flush_log(OUTPUT_LIMIT);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sugang_output::write_within(OUTPUT_LIMIT, &io::stderr(), format!("error: {error:#}\n"));
            ExitCode::from(sugang_migrations::exit_status(&error))
        }
    }
}

fn run(threads: usize, work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(threads.max(1))
        .enable_all()
        .build()?
        .block_on(async {
            ignore_hangups()?;
            work.await
        })
}

/// Has SIGHUP, which ends a process by default, only noted: log rotation sends it, and a terminal that closes. The log is
/// standard error, so there is no file to reopen.
fn ignore_hangups() -> Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            log_notice("SIGHUP is ignored: the log is standard error");
        }
    });
    Ok(())
}

async fn sweep(arguments: &Serve) -> Result<()> {
    let application = Application::load(&arguments.manifest).await?;
    let settings = Settings {
        sweep_every: Some(Duration::ZERO),
        ..arguments.settings()
    };
    for done in application.sweep(settings).await? {
        sugang_output::write_within(OUTPUT_LIMIT, &io::stdout(), format!("{done}\n"));
    }
    Ok(())
}

async fn serve(arguments: &Serve) -> Result<()> {
    queue_log(arguments.log_queue_kib << 10);
    raise_open_file_limit();
    // Before anything else: a signal during the start must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let start = async {
        let application = Application::load(&arguments.manifest).await?;
        anyhow::Ok(application.serve(arguments.settings()).await?)
    };
    let server = tokio::select! {
        server = start => server?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    // What the start has warned of stands in the log before the service is announced.
    flush_log(OUTPUT_LIMIT);
    let serving = format!("Serving on http://{}\n", server.addr());
    sugang_output::write_within(OUTPUT_LIMIT, &io::stdout(), serving);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}

/// Raises the limit of open files. Every connection is one, and many systems allow 1,024 until a process asks for more.
fn raise_open_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    /// Several times the clients' connections, and within what any system allows.
    const FILES: u64 = 1 << 16;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it is refused, connections wait until others have ended.
        _ = setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(FILES)), hard);
    }
}

async fn audit(database_url: &str, json: bool) -> Result<()> {
    let format = if json { Format::Json } else { Format::Text };
    sugang_migrations::report(&sugang_migrations::audit_database(database_url).await?, format)
}
