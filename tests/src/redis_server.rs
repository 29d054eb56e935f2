use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::Value;
use tempfile::TempDir;

use crate::ports::free_port;

/// A Redis of one test's own; it ends when this is dropped.
pub struct RedisServer {
    program: String,
    process: Child,
    port: u16,
    bus_port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts `redis-server` on a free port with further arguments, such as `--maxmemory 1mb`.
    ///
    /// Without the program there is none: `cargo xtask test` has said so.
    ///
    /// # Panics
    /// The program does not start.
    pub async fn start(arguments: &str) -> Option<Self> {
        let program = std::env::var("SUGANG_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        if program.is_empty() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (port, bus_port) = (free_port(), free_port());
        let server = Self {
            process: spawn(&program, [port, bus_port], &folder, arguments),
            program,
            port,
            bus_port,
            folder,
        };
        let begun = Instant::now();
        while server.try_command(&["PING"]).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "Redis never answers");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(server)
    }

    /// Kills the server. Its port answers nothing from now on.
    pub fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }

    /// Kills the server and starts it at the same port, with these further arguments and the data that it had saved.
    pub fn restart(&mut self, arguments: &str) {
        self.kill();
        self.process = spawn(&self.program, [self.port, self.bus_port], &self.folder, arguments);
    }

    /// Stops the server's process in the middle of what it does, as a hanging machine does.
    ///
    /// # Panics
    /// There is no `kill`.
    pub fn freeze(&self) {
        let mut freeze = Command::new("kill");
        freeze.args(["-STOP", &self.process.id().to_string()]);
        assert!(freeze.status().expect("kill runs").success());
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port at which the nodes of a cluster speak to it.
    pub fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// The URL for the user and the password, if there are any.
    pub fn url(&self) -> String {
        self.url_of("")
    }

    /// The URL with credentials: `user:password@`.
    pub fn url_of(&self, credentials: &str) -> String {
        format!("redis://{credentials}127.0.0.1:{}/0", self.port)
    }

    /// Executes a command as an operator.
    ///
    /// # Errors
    /// Redis refuses it.
    pub async fn try_command(&self, command: &[&str]) -> redis::RedisResult<Value> {
        let mut connection = redis::Client::open(self.url())?
            .get_multiplexed_async_connection()
            .await?;
        redis::cmd(command[0])
            .arg(&command[1..])
            .query_async(&mut connection)
            .await
    }

    /// The same, for a command that Redis accepts.
    ///
    /// # Panics
    /// Redis refuses it.
    pub async fn command(&self, command: &[&str]) -> Value {
        self.try_command(command)
            .await
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Returns once a command answers a text that contains `expected`.
    ///
    /// # Panics
    /// It never does.
    pub async fn until(&self, command: &[&str], expected: &str) {
        let begun = Instant::now();
        loop {
            let answer = format!("{:?}", self.try_command(command).await);
            if answer.contains(expected) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{command:?}: {answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spawn(program: &str, [port, bus_port]: [u16; 2], folder: &TempDir, arguments: &str) -> Child {
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "no", "--cluster-port", &bus_port.to_string()])
        .args(arguments.split_whitespace())
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
