//! `cargo xtask up`: the whole service on this machine.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header::CONTENT_TYPE, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

use crate::{
    database,
    migrate::migrate,
    progress::{self, Step},
    project::{self, Kept},
    stores::{Keeper, Lifetime, StoresChoice},
    wasm::{self, ToolchainChoice},
    workspace,
};

const DEMO_EMAIL: &str = "demo@example.com";
const DEMO_USERNAME: &str = "demo";
const DEMO_PASSWORD: &str = "demo-pass-1";

/// Exams and courses to look at.
const DEMO_ITEMS: &str = include_str!("demo.sql");

/// An exam that is open, and that the demo user has not applied for.
const DEMO_EXAM: &str = "select t.id, t.price::text from tests t \
    where now() between start_at and end_at and not exists (select from test_registrations r join users u on u.id = r.user_id \
    where r.test_id = t.id and u.email = $1 and r.status <> 'cancelled') order by t.id limit 1";

/// Spin of this version serves WASI 0.3, which the component is built for.
const SPIN: (u32, u32) = (4, 1);

/// For the server to answer after its start: a cold one compiles the component first.
const START_LIMIT: Duration = Duration::from_secs(120);
/// For the server to end; it lets requests in flight finish.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Runs the whole service on this machine: builds it, finds or starts PostgreSQL and Redis, migrates, puts in demo data,
/// serves. Ctrl-C stops all that it started; the data stay.
#[derive(clap::Args)]
pub struct Arguments {
    /// The port to serve on, on the loopback address.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Serve with the `spin` of the PATH (4.1 or newer) instead of the host here.
    #[arg(long)]
    spin: bool,
    /// Leave out the demo account, exams and courses.
    #[arg(long)]
    no_demo: bool,
    #[command(flatten)]
    stores: StoresChoice,
    #[command(flatten)]
    toolchain: ToolchainChoice,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    free(address)?;
    if arguments.spin {
        check_spin().await?;
    }
    let kept = Kept::open()?;
    wasm::build(&arguments.toolchain).await?;
    let host = match arguments.spin {
        true => None,
        false => Some(workspace::build_host(&[]).await?),
    };
    let mut keeper = Keeper::start(arguments.stores, Lifetime::Kept).await?;
    let served = async {
        migrate(&keeper.ready.database_url).await?;
        let mut server = start(host.as_deref(), address, &keeper, &kept)?;
        let ended = async {
            answers(address, &mut server).await?;
            if !arguments.no_demo {
                demo(address, &keeper.ready.database_url).await?;
            }
            eprintln!("\nServing on http://{address}  (API: http://{address}/api/docs/)  Ctrl-C stops.");
            until_told(&mut server, &mut keeper).await
        }
        .await;
        stop(server).await?;
        ended
    }
    .await;
    let stopped = keeper.stop().await;
    served.and(stopped)
}

fn free(address: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(address).map(drop).with_context(|| {
        format!(
            "port {} is taken; stop what serves there, or choose another one with --port",
            address.port()
        )
    })
}

/// Whether the PATH has a Spin that serves the component.
pub async fn check_spin() -> anyhow::Result<()> {
    let version = progress::output(Command::new("spin").arg("--version"))
        .await
        .context("there is no spin on the PATH")?;
    let number = version.split(' ').nth(1).unwrap_or_default();
    let mut parts = number.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    ensure!(
        found >= SPIN,
        "the spin of the PATH is {number}; the component needs {}.{} or newer",
        SPIN.0,
        SPIN.1
    );
    Ok(())
}

fn start(host: Option<&Path>, address: SocketAddr, keeper: &Keeper, kept: &Kept) -> anyhow::Result<Child> {
    let root = project::root()?;
    let mut command = match host {
        Some(host) => Command::new(host),
        None => {
            let mut spin = Command::new("spin");
            spin.arg("up");
            spin
        }
    };
    command
        .current_dir(root)
        .args(["--listen", &address.to_string()])
        .env("SPIN_VARIABLE_DATABASE_URL", &keeper.ready.database_url)
        .env("SPIN_VARIABLE_REDIS_URL", &keeper.ready.redis_url)
        .env("SPIN_VARIABLE_JWT_SECRET", &kept.jwt_secret)
        // Ctrl-C is for us: the server ends when we say so, and before the stores.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the server")
}

/// Waits until the server and both stores answer.
async fn answers(address: SocketAddr, server: &mut Child) -> anyhow::Result<()> {
    let step = Step::quiet("Start the server");
    let begun = Instant::now();
    loop {
        if let Some(status) = server.try_wait()? {
            bail!("the server ended ({status})");
        }
        if let Ok((StatusCode::OK, _)) = send(address, Method::GET, "/readyz", None).await {
            break;
        }
        ensure!(begun.elapsed() < START_LIMIT, "the server does not answer");
        sleep(Duration::from_millis(50)).await;
    }
    step.done("");
    Ok(())
}

/// Puts in what there is to see, and tells how to see it.
async fn demo(address: SocketAddr, database_url: &str) -> anyhow::Result<()> {
    let step = Step::quiet("Demo data");
    let client = database::connect(database_url).await?;
    client.batch_execute(DEMO_ITEMS).await?;
    // Through the API, so that its rules make the account.
    let account = serde_json::json!({ "email": DEMO_EMAIL, "username": DEMO_USERNAME, "password": DEMO_PASSWORD });
    let (status, body) = send(address, Method::POST, "/signup/", Some(account)).await?;
    // 400: it is there already.
    ensure!(
        matches!(status, StatusCode::CREATED | StatusCode::BAD_REQUEST),
        "the sign-up answers {status}: {body}"
    );
    step.done("");
    println!("\nDemo account: {DEMO_EMAIL}, password {DEMO_PASSWORD}");
    let Some(exam) = client.query_opt(DEMO_EXAM, &[&DEMO_EMAIL]).await? else {
        return Ok(());
    };
    let (id, price): (i64, String) = (exam.get(0), exam.get(1));
    println!(
        r#"Apply for an exam:

curl -i http://{address}/tests/{id}/apply/ -H 'content-type: application/json' \
  -H "authorization: Bearer $(curl -s http://{address}/login/ -H 'content-type: application/json' \
    -d '{{"email":"{DEMO_EMAIL}","password":"{DEMO_PASSWORD}"}}' | sed 's/.*"access":"\([^"]*\)".*/\1/')" \
  -d '{{"amount":"{price}","payment_method":"card"}}'"#
    );
    Ok(())
}

async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: Option<serde_json::Value>,
) -> anyhow::Result<(StatusCode, String)> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(
            body.map(|body| body.to_string()).unwrap_or_default(),
        )))?;
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    timeout(Duration::from_secs(30), exchange)
        .await
        .context("the server does not answer in time")?
}

async fn until_told(server: &mut Child, keeper: &mut Keeper) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        status = server.wait() => bail!("the server ended ({})", status?),
        lost = keeper.lost() => return Err(lost),
    }
    eprintln!("\nStopping. The data stay; `cargo xtask up` goes on with them.");
    Ok(())
}

/// Lets requests in flight finish, then ends the server.
async fn stop(mut server: Child) -> anyhow::Result<()> {
    if let Some(id) = server.id() {
        // It may have ended by itself in this moment; then there is nobody to tell.
        _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM);
    }
    if timeout(STOP_LIMIT, server.wait()).await.is_err() {
        server.kill().await?;
    }
    Ok(())
}
