//! `cargo xtask gateway`: a stand-in for payment gateways, with a payment window.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::Context;
use sugang_gateway::{Options, StandIn};
use tokio::signal::unix::{SignalKind, signal};

/// The port of a stand-in, unless it is told another one.
const PORT: u16 = 8100;

/// Runs a stand-in for payment gateways, with a payment window and a small shop in front of it. No real money moves.
///
/// `cargo xtask up --gateway` runs one beside the service, with the right settings.
#[derive(clap::Args)]
pub struct Arguments {
    /// The port to listen on, on the loopback address; 0 takes a free one.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// The service that the shop calls, and that gets the events.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    service: String,
    /// The file with the books, which then survive the process.
    #[arg(long)]
    journal: Option<PathBuf>,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stand_in = start(arguments.port, arguments.service.clone(), arguments.journal.clone()).await?;
    println!("Shop and payment window on {}", stand_in.url());
    let settings: Vec<_> = settings(&stand_in)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    eprintln!(
        "\nStart the service with these settings:\n\n{} \\\ncargo xtask up",
        settings.join(" \\\n")
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Starts a stand-in beside the service at `service`.
pub async fn start(port: u16, service: String, journal: Option<PathBuf>) -> anyhow::Result<StandIn> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let options = Options {
        address,
        journal,
        service: Some(service),
    };
    let started = StandIn::start(options).await;
    started.with_context(|| format!("the stand-in for payment gateways cannot start on {address}"))
}

/// The same on the usual port.
pub async fn start_beside(service: SocketAddr, journal: PathBuf) -> anyhow::Result<StandIn> {
    start(PORT, format!("http://{service}"), Some(journal)).await
}

/// The settings with which the service uses a stand-in, as its environment has them.
pub fn settings(stand_in: &StandIn) -> impl Iterator<Item = (String, String)> {
    let settings = stand_in.settings().into_iter();
    settings.map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_uppercase()), value))
}
