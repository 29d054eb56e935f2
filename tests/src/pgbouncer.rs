use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use url::Url;

use crate::ports::free_port;

/// An upper limit for its start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A PgBouncer between a service and PostgreSQL. It ends when this is dropped or this process ends, however it ends.
pub struct PgBouncer {
    process: Child,
    _folder: tempfile::TempDir,
    /// The database, by way of the pooler.
    pub url: String,
}

impl PgBouncer {
    /// Starts a pooler before a database with these lines of its section `[pgbouncer]`.
    ///
    /// Returns nothing where there is no PgBouncer; `cargo xtask test` tries to install it, and says so if it cannot.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(database_url: &str, settings: &[&str]) -> Option<Self> {
        let program = program()?;
        let url: Url = database_url.parse().expect("a URL");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = tempfile::tempdir().expect("a folder");
        let name = url.path().trim_start_matches('/');
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n{name} = host={} port={} user={} password={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n{}\n",
            url.host_str().unwrap_or("127.0.0.1"),
            url.port().unwrap_or(5432),
            url.username(),
            url.password().unwrap_or_default(),
            address.port(),
            settings.join("\n")
        );
        fs::write(&file, text).expect("a file");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its owner may");
        // It refuses to be root. The shell ends it when its own input ends.
        let user = if fs::metadata(&file).expect("it was written").uid() == 0 {
            "-u nobody"
        } else {
            ""
        };
        let script = format!("\"$0\" {user} \"$1\" & bouncer=$!; cat > /dev/null; kill $bouncer; wait $bouncer");
        let process = Command::new("sh")
            .args(["-c", &script])
            .arg(program)
            .arg(&file)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "PgBouncer does not listen");
            sleep(Duration::from_millis(10));
        }
        let mut bounced = url.clone();
        bounced.set_host(Some("127.0.0.1")).expect("a URL with a host");
        bounced.set_port(Some(address.port())).expect("a URL with a host");
        Some(Self {
            process,
            _folder: folder,
            url: bounced.to_string(),
        })
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

/// The program that `cargo xtask test` names, or this machine's.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("SUGANG_TEST_PGBOUNCER").map(PathBuf::from);
    let usual = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"].map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|program| program.exists());
    if found.is_none() {
        writeln!(std::io::stderr(), "there is no PgBouncer: nothing was tested").ok();
    }
    found
}
