use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::{App, token};

/// The service as a separate process, which is killed on drop.
pub struct HostProcess {
    process: Child,
    /// Where it listens.
    pub port: u16,
}

/// How a [`HostProcess`] is started.
#[derive(Clone, Copy, Default)]
pub struct HostOptions<'a> {
    /// Where it listens; 0: any port.
    pub port: u16,
    /// Its PostgreSQL, if not the app's.
    pub database_url: Option<&'a str>,
    /// Further arguments.
    pub arguments: &'a [&'a str],
    /// Further variables of the component.
    pub variables: &'a [(&'a str, &'a str)],
}

/// The port at which a host says that it serves, or what it says instead.
fn port_of(process: &mut Child) -> Result<u16, String> {
    let (mut line, stdout) = (String::new(), process.stdout.take().expect("its output is a pipe"));
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the host says where it serves");
    let port = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
    port.ok_or(line)
}

/// Variables of the component, as the host takes them.
fn environment<'a>(variables: &'a [(&str, &str)]) -> impl Iterator<Item = (String, &'a str)> {
    variables
        .iter()
        .map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_uppercase()), *value))
}

impl HostProcess {
    /// Starts a host on the app's stores.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(app: &App, options: HostOptions<'_>) -> Self {
        Self::try_start(app, options).unwrap_or_else(|said| panic!("the host says {said}"))
    }

    /// Starts a host on the app's stores, and returns what it says if it does not start.
    ///
    /// # Panics
    /// There is no host.
    pub fn try_start(app: &App, options: HostOptions<'_>) -> Result<Self, String> {
        let mut process = host_program()
            .args(["--listen", &format!("127.0.0.1:{}", options.port)])
            .args(options.arguments)
            .env(
                "SPIN_VARIABLE_DATABASE_URL",
                options.database_url.unwrap_or(app.service_url()),
            )
            .env("SPIN_VARIABLE_REDIS_URL", app.redis_url())
            .env("SPIN_VARIABLE_JWT_SECRET", token::SECRET)
            // Bounds the wait for the lock of a killed holder.
            .env("SPIN_VARIABLE_LOCK_TTL_MS", "500")
            .env("SPIN_VARIABLE_LOCK_TIMEOUT_MS", "30000")
            .env("SPIN_VARIABLE_LOG_REQUESTS", "false")
            .envs(environment(options.variables))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host starts");
        let port = port_of(&mut process);
        let mut stderr = process.stderr.take().expect("its log is a pipe");
        let Ok(port) = port else {
            let mut said = String::new();
            stderr.read_to_string(&mut said).ok();
            process.wait().ok();
            return Err(said);
        };
        // Its log joins that of the tests.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
        Ok(Self { process, port })
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `http://127.0.0.1:<port>`.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts a host on the app's stores whose log, requests included, goes to `log`. It listens on 127.0.0.1 unless an
    /// argument says otherwise.
    ///
    /// # Panics
    /// It does not start.
    pub fn logging(app: &App, log: impl Into<Stdio>, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let listen: &[&str] = match arguments.contains(&"--listen") {
            true => &[],
            false => &["--listen", "127.0.0.1:0"],
        };
        let mut process = host_program()
            .args(listen)
            .args(arguments)
            .env("SPIN_VARIABLE_DATABASE_URL", app.service_url())
            .env("SPIN_VARIABLE_REDIS_URL", app.redis_url())
            .env("SPIN_VARIABLE_JWT_SECRET", token::SECRET)
            .envs(environment(variables))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the host starts");
        let port = port_of(&mut process).unwrap_or_else(|line| panic!("the host says {line:?}"));
        Self { process, port }
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Panics
    /// The process has ended.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.process.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "the host runs");
    }

    /// Waits for the process to end, and returns its exit code, which it has not if a signal ended it.
    ///
    /// # Panics
    /// It does not end within `limit`.
    pub async fn end(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.process.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the host does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A command of `sugang-host` in the folder of `spin.toml`: the program that `cargo xtask test` has built and names, else
/// one that is built now.
///
/// # Panics
/// The host cannot be built.
pub fn host_program() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = PROGRAM.get_or_init(|| match std::env::var_os("SUGANG_TEST_HOST") {
        Some(program) => program.into(),
        None => build(&root),
    });
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

fn build(root: &Path) -> PathBuf {
    // target/<profile>/deps/e2e-…
    let test = std::env::current_exe().expect("a test is a program");
    let profile = test.ancestors().nth(2).expect("it is in a folder of the profile");
    let mut build = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    build
        .args(["build", "--quiet", "--package", "sugang-host", "--bin", "sugang-host"])
        .arg("--target-dir")
        .arg(profile.parent().expect("the profile is in a target folder"))
        .current_dir(root);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "the host is built");
    profile.join("sugang-host")
}
