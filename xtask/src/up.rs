//! `cargo xtask up`: the whole service on this machine.

mod demo;
mod server;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, anyhow, bail};
use sugang_bench::process::ServerProcess;
use sugang_migrations::ServiceRole;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::{
    gateway,
    local_state::LocalState,
    migrate::migrate,
    project, spin,
    stores::{Access, Source, StoresChoice, Supervisor, lock::Lock},
    wasm::{self, ToolchainChoice},
    workspace,
};
use server::{Program, STOP_LIMIT};

/// The role with which the service that `up` starts calls PostgreSQL.
const SERVICE_ROLE: &str = "sugang_service";

/// Runs the whole service on this machine: builds it, finds or starts PostgreSQL and Redis, migrates, adds demo data,
/// serves. Ctrl-C stops all that it started; the data stay.
///
/// While it runs, `audit`, `explain`, `migrate` and `seed` use its stores.
#[derive(clap::Args)]
pub struct Arguments {
    /// The port to serve on, on the loopback address.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Serve with the `spin` of the PATH (4.1 or newer) instead of the embedded host.
    #[arg(long)]
    spin: bool,
    /// Leave out the demo account, exams and courses.
    #[arg(long)]
    no_demo: bool,
    /// Run a stand-in for payment gateways beside it, with a payment window and a small shop.
    #[arg(long)]
    gateway: bool,
    #[command(flatten)]
    stores: StoresChoice,
    #[command(flatten)]
    toolchain: ToolchainChoice,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // What would fail later fails before minutes of building.
    if !arguments.stores.is_external() {
        Lock::take().map(drop)?;
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    ensure_free(address)?;
    if arguments.spin {
        spin::check().await?;
    }
    wasm::build(&arguments.toolchain).await?;
    let program = match arguments.spin {
        true => Program::Spin,
        false => Program::Host(workspace::build_host(&[]).await?),
    };
    let mut supervisor = Supervisor::start(arguments.stores, Access::Exclusive, "up").await?;
    let served = serve(arguments, &program, address, &mut supervisor).await;
    let stopped = supervisor.stop().await;
    served.and(stopped)
}

/// Serves until a signal, and stops the server before the stores.
async fn serve(
    arguments: &Arguments,
    program: &Program,
    address: SocketAddr,
    supervisor: &mut Supervisor,
) -> anyhow::Result<()> {
    let owner_url = supervisor.stores.database_url.clone();
    let mut stores = supervisor.stores.clone();
    // The service has a role of its own where the server is ours. Its password lasts as long as this run.
    let role = (!matches!(stores.from, Source::Url)).then(|| ServiceRole {
        name: SERVICE_ROLE.to_owned(),
        password: Some(project::random()),
    });
    migrate(&owner_url, role.clone()).await?;
    if let Some(role) = &role {
        stores.database_url = as_role(&owner_url, role)?;
    }
    let stand_in = match arguments.gateway {
        true => Some(gateway::start_beside(address, LocalState::make_folder()?.join("gateway.json")).await?),
        false => None,
    };
    let mut server = server::start(program, address, &stores, &LocalState::open()?, stand_in.as_ref())?;
    let served = async {
        let client = server::wait_until_ready(address, &mut server).await?;
        if !arguments.no_demo {
            demo::add(address, &client, &owner_url).await?;
        }
        if let Some(stand_in) = &stand_in {
            eprintln!("\nTry a payment: {}", stand_in.url());
        }
        eprintln!("\nServing on http://{address}  (API: {address}/api/docs/, for operators: {address}/console/)  Ctrl-C stops.");
        wait_for_end(&mut server, supervisor).await
    }
    .await;
    let stopped = server.stop(STOP_LIMIT).await;
    served.and(stopped)
}

/// The URL of a database for another user.
fn as_role(database_url: &str, role: &ServiceRole) -> anyhow::Result<String> {
    let mut url: Url = database_url.parse()?;
    let set = url.set_username(&role.name);
    set.and_then(|()| url.set_password(role.password.as_deref()))
        .map_err(|()| anyhow!("the URL of the database has no host"))?;
    Ok(url.into())
}

fn ensure_free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        format!(
            "port {} is taken: stop the server on it, or choose another port with --port",
            address.port()
        )
    })
}

/// Waits for a signal. The end of the server or of the stores is an error.
async fn wait_for_end(server: &mut ServerProcess, supervisor: &mut Supervisor) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        status = server.wait() => bail!("the server ended ({})", status?),
        lost = supervisor.lost() => return Err(lost),
    }
    eprintln!("\nStopping. The data stay; `cargo xtask up` continues with them.");
    Ok(())
}
