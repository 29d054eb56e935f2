//! A server of the API that the bench starts: the host, or Spin.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::Command,
    time::{sleep, timeout},
};
use url::Url;

use crate::{connection::PATIENCE, process::ServerProcess};

/// What a server works on.
pub(crate) struct Stores {
    pub database_url: String,
    pub redis_url: String,
    pub jwt_secret: String,
    /// The checkout: both servers read `spin.toml` in it.
    pub project: PathBuf,
}

/// A server that the bench started.
pub(crate) struct Server {
    pub url: Url,
    process: ServerProcess,
}

impl Server {
    /// Starts the host on a free port and waits until it listens.
    pub async fn start_host(program: &Path, stores: &Stores) -> anyhow::Result<Self> {
        Self::start_host_with(program, stores, &[]).await
    }

    /// The same with further variables in its environment.
    pub async fn start_host_with(program: &Path, stores: &Stores, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let log_path = program.with_file_name("bench-host.log");
        let log = fs::File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
        let mut process = ServerProcess::start(program, |command| {
            stores.configure(command);
            command
                .args(["--listen", "127.0.0.1:0"])
                .envs(variables.iter().copied())
                .stdout(Stdio::piped())
                .stderr(log);
        })?;
        let stdout = process.stdout().context("the host has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let url = loop {
            let line = timeout(PATIENCE, lines.next_line())
                .await
                .context("the host does not start")??;
            let line = line.with_context(|| format!("the host ended; {} says why", log_path.display()))?;
            if let Some(url) = line.strip_prefix("Serving on ") {
                break url.parse()?;
            }
        };
        // Later output is read and dropped, so that it never fills the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { url, process })
    }

    /// Starts the `spin` of the `PATH` on a free port and waits until it listens.
    pub async fn start_spin(stores: &Stores) -> anyhow::Result<Self> {
        let address = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.local_addr()?;
        let process = ServerProcess::start("spin", |command| {
            stores.configure(command);
            command
                .args(["up", "--quiet", "--listen", &address.to_string()])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
        })?;
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            ensure!(begun.elapsed() < PATIENCE, "spin does not start");
            sleep(Duration::from_millis(50)).await;
        }
        let url = format!("http://{address}").parse()?;
        Ok(Self { url, process })
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.process.id().context("the server has ended")
    }

    /// CPU time until now. Spin serves in a process below the one that was started, which this leaves out.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        self.look(ProcessRefreshKind::nothing().with_cpu(), |process| {
            Duration::from_millis(process.accumulated_cpu_time())
        })
    }

    /// Resident memory now, in bytes.
    pub fn memory(&self) -> anyhow::Result<u64> {
        self.look(ProcessRefreshKind::nothing().with_memory(), sysinfo::Process::memory)
    }

    /// The highest resident memory until now, in bytes: Linux alone knows it, so it is read from `/proc`.
    pub fn highest_memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kilobytes.context("/proc/<pid>/status names no VmHWM")? * 1024)
    }

    fn look<T>(&self, kind: ProcessRefreshKind, figure: impl FnOnce(&sysinfo::Process) -> T) -> anyhow::Result<T> {
        let id = Pid::from_u32(self.id()?);
        let mut system = System::new().context("this machine does not show its processes")?;
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, kind);
        system.process(id).map(figure).context("the server has ended")
    }

    /// Ends the server.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop(PATIENCE).await
    }
}

impl Stores {
    fn configure(&self, command: &mut Command) {
        command
            .current_dir(&self.project)
            .env("SPIN_VARIABLE_DATABASE_URL", &self.database_url)
            .env("SPIN_VARIABLE_REDIS_URL", &self.redis_url)
            .env("SPIN_VARIABLE_JWT_SECRET", &self.jwt_secret)
            // Logins are counted but never refused: the whole load comes from one address.
            .env("SPIN_VARIABLE_LOGIN_ATTEMPTS_PER_ADDRESS", "1000000000")
            .stdin(Stdio::null());
    }
}
