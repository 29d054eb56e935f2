//! The developer's commands beside each other: `cargo xtask up` runs, and others use its stores.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Child, ChildStdin, Command, Output, Stdio},
};

use serde_json::Value;
use sugang_tests::xtask;
use tempfile::TempDir;

/// A checkout of its own: `spin.toml` is how the commands recognize one.
struct Checkout(TempDir);

/// Kept stores that run, as `up` starts them.
struct Running {
    process: Child,
    stdin: ChildStdin,
    ready: Value,
}

impl Checkout {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::write(folder.path().join("spin.toml"), "").expect("a file in it");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its owner may");
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xtask();
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        // The checkout's own stores, not those of the environment.
        command.env_remove("DATABASE_URL").env_remove("REDIS_URL");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("xtask runs")
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeds");
        String::from_utf8(output.stderr).expect("text")
    }

    fn start_stores(&self) -> Running {
        let mut command = self.command(&["stores", "--keep"]);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("xtask runs");
        let stdin = process.stdin.take().expect("its input is a pipe");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        Running {
            process,
            stdin,
            ready: serde_json::from_str(&line).expect("the line is JSON"),
        }
    }

    fn has_record(&self) -> bool {
        self.0.path().join(".sugang/stores.json").exists()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // Data outside the folder: volumes, or a folder that the servers' account can reach.
        self.run(&["down", "--delete"]);
    }
}

#[test]
fn commands_use_running_stores_and_leave_them_running() {
    let checkout = Checkout::new();
    let mut running = checkout.start_stores();
    let record = checkout.0.path().join(".sugang/stores.json");
    let mode = fs::metadata(&record).expect("the record").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the record has passwords");

    checkout.succeeds(&["migrate"]);
    let few = [
        "seed",
        "--tests",
        "60",
        "--courses",
        "60",
        "--users",
        "5",
        "--registrations",
        "20",
    ];
    checkout.succeeds(&few);
    assert!(checkout.succeeds(&["explain", "--only", "detail"]).contains("# detail"));
    let audit = checkout.succeeds(&["audit"]);
    assert!(audit.contains(" ok"), "{audit}");
    let shared = checkout.succeeds(&["stores", "--keep", "--share"]);
    let shared: Value = serde_json::from_str(&shared).expect("one line of JSON");
    assert_eq!(shared, running.ready, "the same stores, started once");

    let process = format!("process {}", running.process.id());
    for refused in [&["up"][..], &["reset", "--delete-data"], &["bench", "--no-build"]] {
        let error = checkout.fails(refused);
        assert!(
            error.contains("run already") && error.contains("cargo xtask down"),
            "{refused:?}: {error}"
        );
        assert!(error.contains(&process) || cfg!(not(unix)), "{refused:?}: {error}");
    }
    assert!(
        running.process.try_wait().expect("its status").is_none(),
        "they still run"
    );
    drop(running.stdin);
    assert!(running.process.wait().expect("its status").success());
    assert!(!checkout.has_record());
    // With none running, a command starts them for itself; the data are the same.
    assert!(checkout.succeeds(&["audit"]).contains(" ok"));
}

#[test]
fn a_killed_command_leaves_nothing_in_the_way() {
    let checkout = Checkout::new();
    let mut running = checkout.start_stores();
    checkout.succeeds(&["migrate"]);
    running.process.kill().expect("it runs");
    running.process.wait().expect("its status");
    assert!(checkout.has_record(), "a stale one");
    assert!(checkout.succeeds(&["audit"]).contains(" ok"));
    assert!(!checkout.has_record());

    let mut running = checkout.start_stores();
    running.process.kill().expect("it runs");
    running.process.wait().expect("its status");
    assert!(checkout.succeeds(&["down"]).contains("Stopped"));
    assert!(!checkout.has_record());
}

#[test]
fn down_stops_what_runs_and_deletes_only_when_told() {
    let checkout = Checkout::new();
    let mut running = checkout.start_stores();
    assert!(checkout.succeeds(&["down"]).contains("The data stay"));
    assert!(running.process.wait().expect("its status").success());
    assert!(checkout.0.path().join(".sugang").exists());
    assert!(checkout.succeeds(&["down", "--delete"]).contains("Deleted"));
    assert!(!checkout.0.path().join(".sugang").exists());
    assert!(checkout.succeeds(&["down"]).contains("Nothing runs"));
}
