//! Stores from the programs of this machine, in a private folder and on free loopback ports.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid, User},
};
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_postgres::NoTls;

use super::{Action, Lifetime, Order, Ready, Source, Store, free_port, postgres_answers, redis_answers};
use crate::{
    apt,
    progress::{self, Step},
    project::{self, Kept},
};

/// PostgreSQL writes what it has in memory before it ends; then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// The two servers and where they live.
pub struct Local {
    postgres: Server,
    redis: Server,
    lifetime: Lifetime,
    /// Goes with the servers when the data are thrown away.
    folder: Folder,
    /// Keeps a second keeper away from kept data.
    _lock: Option<fs::File>,
}

/// Starts both servers.
pub async fn start(lifetime: Lifetime) -> anyhow::Result<(Local, Ready)> {
    let programs = Programs::find_or_install().await?;
    let step = Step::quiet("Start PostgreSQL and Redis of this machine");
    let account = Account::find()?;
    let (folder, password, lock) = match lifetime {
        Lifetime::Throwaway => (Folder::throwaway(account.as_ref())?, project::random(), None),
        Lifetime::Kept => {
            let kept = Kept::open()?;
            let lock = Kept::lock()?;
            (Folder::kept(&kept, account.as_ref())?, kept.stores_password, Some(lock))
        }
    };
    let (postgres_port, redis_port) = (free_port()?, free_port()?);
    let ready = Ready {
        database_url: format!("postgres://sugang:{password}@127.0.0.1:{postgres_port}/sugang"),
        redis_url: format!("redis://:{password}@127.0.0.1:{redis_port}/0"),
        from: Source::Local,
        description: format!("this machine's {programs}, data in {}", folder.path().display()),
        postgres_pid: None,
        redis_pid: None,
        postgres_container: None,
        redis_container: None,
    };
    let data = folder.path().join("postgres");
    let programs = programs.for_data(&data)?;
    if !data.join("PG_VERSION").exists() {
        initialize(&programs, &data, &password, account.as_ref()).await?;
    }

    let mut postgres = Launch::new(programs.postgres, account.clone(), folder.path().join("postgres.log"));
    postgres.argument("-D").argument(data.to_string_lossy());
    for setting in lifetime.postgres_settings() {
        postgres.argument("-c").argument(setting);
    }
    // No socket file: its path would be too long in a deep folder.
    for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories="] {
        postgres.argument("-c").argument(setting);
    }
    postgres.argument("-p").argument(postgres_port.to_string());

    let redis_folder = folder.path().join("redis");
    make_folder(&redis_folder, account.as_ref())?;
    let mut redis = Launch::new(programs.redis_server, account, folder.path().join("redis.log"));
    redis.argument("-");
    redis.stdin = format!(
        "bind 127.0.0.1\nport {redis_port}\nrequirepass {password}\ndir \"{}\"\nsave \"{}\"\ndaemonize no\n",
        redis_folder.display(),
        lifetime.redis_save()
    );

    let mut local = Local {
        postgres: Server::start(postgres, Signal::SIGINT, Signal::SIGQUIT)?,
        redis: Server::start(redis, Signal::SIGTERM, Signal::SIGKILL)?,
        lifetime,
        folder,
        _lock: lock,
    };
    if let Err(error) = local.become_ready(&ready).await {
        local.end().await?;
        return Err(error);
    }
    let (postgres_pid, redis_pid) = (Some(local.postgres.process.id()), Some(local.redis.process.id()));
    step.done("");
    Ok((
        local,
        Ready {
            postgres_pid,
            redis_pid,
            ..ready
        },
    ))
}

impl Local {
    async fn become_ready(&mut self, ready: &Ready) -> anyhow::Result<()> {
        let maintenance = ready
            .database_url
            .strip_suffix("/sugang")
            .map_or_else(String::new, |server| format!("{server}/postgres"));
        postgres_answers(&maintenance, &mut || self.postgres.alive()).await?;
        let (client, connection) = tokio_postgres::connect(&maintenance, NoTls).await?;
        tokio::spawn(connection);
        if client
            .query_opt("select from pg_database where datname = 'sugang'", &[])
            .await?
            .is_none()
        {
            client.batch_execute("create database sugang").await?;
        }
        redis_answers(&ready.redis_url, &mut || self.redis.alive()).await
    }

    /// Carries out an order.
    pub(super) async fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        let server = match order.store {
            Store::Postgres => &mut self.postgres,
            Store::Redis => &mut self.redis,
        };
        match order.action {
            Action::Stop => server.stop().await,
            Action::Kill => server.kill().await,
            Action::Start => server.restart(),
            Action::Freeze => server.signal_all(Signal::SIGSTOP),
            Action::Thaw => server.signal_all(Signal::SIGCONT),
        }
    }

    /// Ends both servers, and the data where they are not kept.
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

/// The programs that are needed, and which PostgreSQL they are.
struct Programs {
    initdb: PathBuf,
    postgres: PathBuf,
    postgres_version: String,
    redis_server: PathBuf,
}

impl std::fmt::Display for Programs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PostgreSQL {} and Redis", self.postgres_version)
    }
}

impl Programs {
    async fn find_or_install() -> anyhow::Result<Self> {
        if let Ok(found) = Self::find().await {
            return Ok(found);
        }
        let missing = match (postgres_folders().is_empty(), on_path("redis-server").is_none()) {
            (true, true) => &["postgresql", "redis-server"][..],
            (true, false) => &["postgresql"][..],
            (false, _) => &["redis-server"][..],
        };
        let step = Step::quiet(format!("Install {}", missing.join(" and ")));
        apt::install(missing)
            .await
            .with_context(|| format!("{} is missing", missing.join(" and ")))?;
        step.done("");
        Self::find().await
    }

    async fn find() -> anyhow::Result<Self> {
        let folders = postgres_folders();
        Self::in_folder(
            folders
                .first()
                .context("PostgreSQL's `initdb` and `postgres` are missing")?,
        )
        .await
    }

    async fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let redis_server = on_path("redis-server").context("`redis-server` is missing")?;
        let postgres = folder.join("postgres");
        let version = progress::output(tokio::process::Command::new(&postgres).arg("--version")).await?;
        let postgres_version = version
            .split(' ')
            .nth(2)
            .unwrap_or("of unknown version")
            .trim()
            .to_owned();
        Ok(Self {
            initdb: folder.join("initdb"),
            postgres,
            postgres_version,
            redis_server,
        })
    }

    /// Data can only be read by the major version that wrote them.
    fn for_data(self, data: &Path) -> anyhow::Result<Self> {
        let Ok(written_by) = fs::read_to_string(data.join("PG_VERSION")) else {
            return Ok(self);
        };
        let written_by = written_by.trim();
        if self.postgres_version.split('.').next() != Some(written_by) {
            bail!(
                "{} was written by PostgreSQL {written_by}, and the newest here is {}: \
                 `cargo xtask down --delete` starts anew",
                data.display(),
                self.postgres_version
            );
        }
        Ok(self)
    }
}

/// Folders with PostgreSQL's servers: Debian's, newest first, then whatever the PATH has.
fn postgres_folders() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<u32> = versions
        .filter_map(|version| version.file_name().to_string_lossy().parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let debian = versions
        .iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let path = env::var_os("PATH").unwrap_or_default();
    let complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    debian.chain(env::split_paths(&path)).filter(complete).collect()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The account that the servers run under when we are root: PostgreSQL refuses to run as root.
#[derive(Clone)]
struct Account(User);

impl Account {
    fn find() -> anyhow::Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Some(Self(user)));
            }
        }
        bail!("PostgreSQL does not run as root, and there is no user `postgres`")
    }
}

/// Where the data are.
enum Folder {
    Throwaway(TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Throwaway(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }

    /// Removes what is not kept; the servers' account may own it.
    fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Throwaway(folder) => folder.close().context("cannot remove the stores' data"),
            Self::Kept(_) => Ok(()),
        }
    }

    fn throwaway(account: Option<&Account>) -> anyhow::Result<Self> {
        let candidates = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        for parent in candidates {
            let Ok(folder) = tempfile::Builder::new().prefix("sugang-stores-").tempdir_in(&parent) else {
                continue;
            };
            if hand_over(folder.path(), account).is_ok() {
                return Ok(Self::Throwaway(folder));
            }
        }
        bail!("there is no temporary folder that the servers can read")
    }

    /// In the checkout, unless that lies where the servers' account cannot go, such as root's home.
    fn kept(kept: &Kept, account: Option<&Account>) -> anyhow::Result<Self> {
        let inside = Kept::folder()?.join("stores");
        let outside = Self::outside(kept);
        if !outside.exists() {
            make_folder(&inside, account)?;
            if hand_over(&inside, account).is_ok() {
                return Ok(Self::Kept(inside));
            }
            fs::remove_dir(&inside)?;
        }
        make_folder(&outside, account)?;
        hand_over(&outside, account)?;
        Ok(Self::Kept(outside))
    }

    fn outside(kept: &Kept) -> PathBuf {
        PathBuf::from(format!("/var/lib/sugang-{}", kept.id))
    }
}

/// Deletes the kept data of this checkout.
pub fn delete(kept: &Kept) -> anyhow::Result<()> {
    for folder in [Kept::folder()?.join("stores"), Folder::outside(kept)] {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Makes a folder, private to the account.
fn make_folder(folder: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if let Some(Account(user)) = account {
        chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?)
}

/// Gives a folder to the account and has the account prove that it can work there.
fn hand_over(folder: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    make_folder(folder, account)?;
    let launch = Launch::new("/bin/ls".into(), account.cloned(), "/dev/null".into());
    let status = launch.command()?.arg(folder).status()?;
    if !status.success() {
        bail!("{} cannot be reached by the servers' account", folder.display());
    }
    Ok(())
}

async fn initialize(programs: &Programs, data: &Path, password: &str, account: Option<&Account>) -> anyhow::Result<()> {
    make_folder(data, account)?;
    let password_file = data.with_extension("password");
    fs::write(&password_file, password)?;
    fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600))?;
    if let Some(Account(user)) = account {
        chown(&password_file, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    let locale = if cfg!(target_os = "macos") {
        "en_US.UTF-8"
    } else {
        "C.UTF-8"
    };
    let mut initdb = Launch::new(
        programs.initdb.clone(),
        account.cloned(),
        data.with_extension("initdb.log"),
    );
    initdb
        .argument("-D")
        .argument(data.to_string_lossy())
        .argument("--username=sugang")
        .argument("--auth=scram-sha-256");
    initdb.argument(format!("--pwfile={}", password_file.display()));
    initdb
        .argument("--encoding=UTF8")
        .argument(format!("--locale={locale}"))
        .argument("--no-sync");
    let status = initdb.command()?.status();
    fs::remove_file(&password_file)?;
    if !status.context("cannot start initdb")?.success() {
        let complaint = initdb.last_words();
        fs::remove_dir_all(data)?;
        bail!("initdb failed\n{complaint}");
    }
    Ok(())
}

/// How a program is started, as often as need be.
struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    stdin: String,
    account: Option<Account>,
    log: PathBuf,
}

impl Launch {
    fn new(program: PathBuf, account: Option<Account>, log: PathBuf) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            stdin: String::new(),
            account,
            log,
        }
    }

    fn argument(&mut self, argument: impl Into<String>) -> &mut Self {
        self.arguments.push(argument.into());
        self
    }

    /// Linux's `setpriv` changes the account and has the program end even when the keeper is killed.
    fn command(&self) -> anyhow::Result<Command> {
        use std::os::unix::process::CommandExt;

        let mut command = match on_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                if let Some(Account(user)) = &self.account {
                    command.args([
                        "--reuid",
                        &user.uid.to_string(),
                        "--regid",
                        &user.gid.to_string(),
                        "--clear-groups",
                    ]);
                }
                command.args(["--pdeathsig", "QUIT", "--"]).arg(&self.program);
                command
            }
            None => {
                let mut command = Command::new(&self.program);
                if let Some(Account(user)) = &self.account {
                    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
                }
                command
            }
        };
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        // A folder that the account can read, and a process group that Ctrl-C does not reach.
        command.current_dir("/").process_group(0).stdin(Stdio::null());
        command.args(&self.arguments).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn spawn(&self) -> anyhow::Result<Child> {
        let mut process = self
            .command()?
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if let Some(mut stdin) = process.stdin.take() {
            std::io::Write::write_all(&mut stdin, self.stdin.as_bytes())?;
        }
        Ok(process)
    }

    /// The end of the log, for an error message.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

/// A server that runs, or did.
struct Server {
    launch: Launch,
    process: Child,
    /// Asks for an orderly end.
    stop: Signal,
    /// Asks for an end at once, as after a crash.
    kill: Signal,
}

impl Server {
    fn start(launch: Launch, stop: Signal, kill: Signal) -> anyhow::Result<Self> {
        Ok(Self {
            process: launch.spawn()?,
            launch,
            stop,
            kill,
        })
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_none() {
            bail!("it runs already");
        }
        self.process = self.launch.spawn()?;
        Ok(())
    }

    fn alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!(
                "{} ended ({status})\n{}",
                self.launch.program.display(),
                self.launch.last_words()
            );
        }
        Ok(())
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        self.end_by(self.stop).await
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.end_by(self.kill).await
    }

    async fn end_by(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal_all(Signal::SIGCONT)?;
        kill(self.pid(), signal)?;
        let asked = Instant::now();
        while self.process.try_wait()?.is_none() {
            if asked.elapsed() > STOP_LIMIT {
                self.process.kill()?;
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Reaches the server and its children, each of which may lead a process group of its own, as PostgreSQL's do.
    fn signal_all(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.alive()?;
        let mut family = vec![self.pid()];
        kill(self.pid(), signal)?;
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = process.file_name().to_string_lossy().parse() else {
                continue;
            };
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            // pid (name) state parent …, where the name may hold anything.
            let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
            if parent.and_then(|parent| parent.parse().ok()) == Some(self.pid().as_raw()) {
                family.push(Pid::from_raw(pid));
            }
        }
        for pid in &family[1..] {
            // A child that has just ended needs no signal.
            let _ = kill(*pid, signal);
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }
}
