//! `cargo xtask bench`: measures every kind of request.

use sugang_bench::{Environment, Options};

use crate::{
    project, spin,
    stores::{Access, StoresChoice, Supervisor},
    wasm::{self, ToolchainChoice},
    workspace,
};

/// Measures requests per second, latencies and CPU time of every kind of request, and writes docs/benchmarks.md.
///
/// The targets are the embedded host, `spin` where it is on the PATH, and the database itself. Then follow: an overload
/// of users that apply for one exam, the start of the host, the cost of exact counts, and the memory under a long load.
/// The database is one of its own beside that of `cargo xtask up`, seeded once and kept. Everything stays on loopback.
/// The stores must not be in use: other requests would be measured too.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Measure the programs that were built before, even if the sources have changed.
    #[arg(long)]
    no_build: bool,
    #[command(flatten)]
    stores: StoresChoice,
    #[command(flatten)]
    toolchain: ToolchainChoice,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let host = match arguments.no_build {
        true => workspace::host()?,
        false => {
            wasm::build(&arguments.toolchain).await?;
            workspace::build_host(&[]).await?
        }
    };
    let spin = spin::check().await;
    if let Err(error) = &spin {
        eprintln!("Without spin: {error:#}");
    }
    let supervisor = Supervisor::start(arguments.stores, Access::Exclusive, "bench").await?;
    let environment = Environment {
        project: project::root()?,
        host,
        component: wasm::component()?,
        database_url: supervisor.stores.database_url.clone(),
        redis_url: supervisor.stores.redis_url.clone(),
        stores: supervisor.stores.from.to_string(),
        has_spin: spin.is_ok(),
    };
    let measured = sugang_bench::run(&arguments.options, &environment).await;
    measured.and(supervisor.stop().await)
}
