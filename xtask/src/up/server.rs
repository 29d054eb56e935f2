//! The server that `up` starts.

use std::{
    env,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use sugang_bench::process::ServerProcess;
use sugang_gateway::StandIn;
use sugang_sdk::{Client, RetryPolicy};
use tokio::time::sleep;

use crate::{gateway, local_state::LocalState, progress::Step, project, stores::RunningStores};

/// For the server to answer after its start: the first one compiles the component.
const START_LIMIT: Duration = Duration::from_secs(120);
/// For the server to end; it lets requests in flight finish.
pub const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What serves the component.
pub enum Program {
    /// The embedded host at this path.
    Host(PathBuf),
    /// The `spin` of the `PATH`.
    Spin,
}

/// Starts the server on the stores.
pub fn start(
    program: &Program,
    address: SocketAddr,
    stores: &RunningStores,
    state: &LocalState,
    stand_in: Option<&StandIn>,
) -> anyhow::Result<ServerProcess> {
    let root = project::root()?;
    let (program, subcommand) = match program {
        Program::Host(host) => (host.as_os_str(), None),
        Program::Spin => ("spin".as_ref(), Some("up")),
    };
    ServerProcess::start(program, |command| {
        command
            .current_dir(root)
            .args(subcommand)
            .args(["--listen", &address.to_string()])
            .env("SPIN_VARIABLE_DATABASE_URL", &stores.database_url)
            .env("SPIN_VARIABLE_REDIS_URL", &stores.redis_url)
            .env("SPIN_VARIABLE_JWT_SECRET", &state.jwt_secret);
        for (name, value) in stand_in.into_iter().flat_map(gateway::settings) {
            if env::var_os(&name).is_none() {
                command.env(name, value);
            }
        }
        // As in a deployment, unless it was set.
        let name = "SPIN_VARIABLE_REFUSE_WEAK_PASSWORDS";
        if env::var_os(name).is_none() {
            command.env(name, "true");
        }
        // The embedded host knows by itself that only this machine reaches it.
        let name = "SPIN_VARIABLE_ALLOWED_HOSTS";
        if subcommand.is_some() && address.ip().is_loopback() && env::var_os(name).is_none() {
            command.env(name, "localhost,127.0.0.1,[::1]");
        }
    })
}

/// Waits until the server and both stores answer.
pub async fn wait_until_ready(address: SocketAddr, server: &mut ServerProcess) -> anyhow::Result<Client> {
    let step = Step::quiet("Start the server");
    // One attempt at a time: between two of them, the server may have ended.
    let attempt = RetryPolicy {
        attempts: 1,
        ..RetryPolicy::default()
    };
    let client = Client::builder(format!("http://{address}")).retry(attempt).build()?;
    let begun = Instant::now();
    while client.ready().await.is_err() {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended ({status})");
        }
        ensure!(begun.elapsed() < START_LIMIT, "the server does not answer");
        sleep(Duration::from_millis(50)).await;
    }
    step.done("");
    Ok(client)
}
