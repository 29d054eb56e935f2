use std::{
    fs,
    io::Write,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio_postgres::Client;
use url::Url;

use crate::{app::connect, ports::free_port};

/// An upper limit for a start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A PostgreSQL and its streaming standby, of one test's own. They end when this is dropped or this process ends, however
/// it ends.
pub struct Replicated {
    primary: Server,
    standby: Server,
    _folder: tempfile::TempDir,
}

struct Server {
    process: Child,
    url: Url,
}

/// The programs, and the user that executes them where the tests are root: PostgreSQL refuses to be root.
struct Programs {
    folder: PathBuf,
    account: Option<u32>,
}

impl Replicated {
    /// Starts both, with one empty database.
    ///
    /// Returns nothing where their programs are missing; `cargo xtask test` tries to install them, and says so if it cannot.
    ///
    /// # Panics
    /// They do not start.
    pub async fn start() -> Option<Self> {
        let programs = Programs::find()?;
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(account) = programs.account {
            chown(folder.path(), Some(account), None).expect("root may");
        }
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        programs.run(
            "initdb",
            &[
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            &first,
        );
        let primary = programs.serve(&first);
        primary.until_it_answers().await;
        let source = format!(
            "--dbname=host=127.0.0.1 user=postgres port={}",
            primary.url.port().unwrap_or_default()
        );
        let copy = [
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
            &source,
        ];
        programs.run("pg_basebackup", &copy, &second);
        let standby = programs.serve(&second);
        standby.until_it_answers().await;
        let replicated = Self {
            primary,
            standby,
            _folder: folder,
        };
        // From now on, what is confirmed is on both, and visible on both.
        let primary = replicated.primary.connect().await;
        for setting in ["synchronous_standby_names = '*'", "synchronous_commit = remote_apply"] {
            primary
                .batch_execute(&format!("alter system set {setting}"))
                .await
                .expect("a superuser may");
        }
        let ready = "select pg_reload_conf() and exists (select from pg_stat_replication where sync_state = 'sync')";
        let begun = Instant::now();
        while !primary
            .query_one(ready, &[])
            .await
            .expect("an answer")
            .get::<_, bool>(0)
        {
            assert!(begun.elapsed() < PATIENCE, "the standby does not follow");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(replicated)
    }

    /// The server that takes changes at first.
    pub fn primary(&self) -> &Url {
        &self.primary.url
    }

    /// The server that follows it.
    pub fn standby(&self) -> &Url {
        &self.standby.url
    }

    /// Ends the primary at once, as a crash does.
    pub fn crash_primary(&mut self) {
        self.primary.end();
    }

    /// Makes the standby the primary.
    ///
    /// # Panics
    /// It refuses.
    pub async fn promote(&self) {
        let standby = self.standby.connect().await;
        let promoted = standby
            .query_one("select pg_promote()", &[])
            .await
            .expect("it is a standby");
        assert!(promoted.get::<_, bool>(0), "it takes no changes after a minute");
    }
}

impl Server {
    async fn connect(&self) -> Client {
        connect(self.url.to_string()).await.expect("PostgreSQL answers")
    }

    async fn until_it_answers(&self) {
        let begun = Instant::now();
        while connect(self.url.to_string()).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL never answers");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn end(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Programs {
    fn find() -> Option<Self> {
        let folder = postgres_program("pg_basebackup")?.parent()?.to_owned();
        let id = |arguments: &[&str]| {
            let output = Command::new("id").args(arguments).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
        };
        let is_root = id(&["-u"]) == Some(0);
        Some(Self {
            folder,
            account: is_root.then(|| {
                id(&["-u", "postgres"])
                    .or_else(|| id(&["-u", "nobody"]))
                    .expect("a user")
            }),
        })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(account) = self.account {
            command.uid(account);
        }
        // A folder that the account can read.
        command.current_dir("/").env("HOME", "/").stdout(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str], data: &Path) {
        let mut command = self.command(&self.folder.join(program));
        let status = command.args(arguments).arg("--pgdata").arg(data).status();
        assert!(status.expect("it starts").success(), "{program} fails");
    }

    fn serve(&self, data: &Path) -> Server {
        let port = free_port();
        // The shell ends it at once when its own input ends.
        let script = "\"$0\" \"$@\" & server=$!; cat > /dev/null; kill -QUIT $server; wait $server";
        let mut command = self.command(Path::new("sh"));
        command
            .args(["-c", script])
            .arg(self.folder.join("postgres"))
            .arg("-D")
            .arg(data);
        for setting in [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
        ] {
            command.args(["-c", &setting]);
        }
        Server {
            process: command
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("a shell"),
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres")
                .parse()
                .expect("a URL"),
        }
    }
}

/// A program of PostgreSQL in the folder that `cargo xtask test` names, or Debian's newest. Returns nothing where it is
/// missing, and says so.
pub fn postgres_program(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("SUGANG_TEST_POSTGRES_FOLDER") {
        Some(named) => PathBuf::from(named),
        None => newest_of_debian().unwrap_or_default(),
    };
    let program = folder.join(name);
    if !program.is_file() {
        writeln!(std::io::stderr(), "there is no {name}: nothing was tested").ok();
        return None;
    }
    Some(program)
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions
        .filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok())
        .max()?;
    Some(PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin")))
}
