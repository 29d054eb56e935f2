//! TLS to the stores: what each `sslmode` accepts of which server, with certificates that the tests make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use sugang_tests::{App, HostProcess, Supervisor, free_port, host_program};
use tempfile::TempDir;
use tokio::time::sleep;

/// A certificate as PostgreSQL's manual has it made (`openssl x509 -req` without extensions), and its key.
const VERSION_1: &str = include_str!("../fixtures/x509_version_1.pem");

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    /// The authority's own certificate, in PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate and its key, in PEM.
    pub(crate) fn sign(&self, parameters: &CertificateParams) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        [parameters.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem()]
    }
}

pub(crate) fn of_host(host: &str) -> CertificateParams {
    CertificateParams::new([host.to_owned()]).unwrap()
}

/// A certificate whose only name is the common name, as PostgreSQL's manual makes them.
fn of_common_name(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

/// Files of PEM that the clients name.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// A server by name, its certificate, its rules of access; and of each client the host, the parameters, and how it gets in:
/// "TLS", "plain", or a part of the error.
type Server<'a> = (&'a str, Option<[String; 2]>, &'a str, &'a [(&'a str, &'a str, &'a str)]);

/// A PostgreSQL of the test's own, whose certificate and rules of access change.
struct Postgres {
    app: App,
    _supervisor: Supervisor,
    generation: u32,
}

const BOTH: &str = "host all all all scram-sha-256";

impl Postgres {
    async fn start() -> Self {
        let supervisor = Supervisor::of_own_stores().expect("stores of its own");
        let app = App::with("log_requests", "false").on(&supervisor).start().await;
        Self {
            app,
            _supervisor: supervisor,
            generation: 0,
        }
    }

    /// Shows this certificate from now on, or none, and admits clients by these rules.
    async fn serve(&mut self, certificate: Option<&[String; 2]>, rules: &str, client_authority: &str) {
        let [chain, key] = certificate.cloned().unwrap_or_default();
        self.write("tls.crt", &chain).await;
        self.write("tls.key", &key).await;
        self.write("tls-clients.crt", client_authority).await;
        self.write("pg_hba.conf", &format!("{rules}\n")).await;
        self.generation += 1;
        let clients = if client_authority.is_empty() {
            ""
        } else {
            "tls-clients.crt"
        };
        let ssl = if certificate.is_some() { "on" } else { "off" };
        for setting in [
            "alter system set ssl_cert_file = 'tls.crt'".to_owned(),
            "alter system set ssl_key_file = 'tls.key'".to_owned(),
            format!("alter system set ssl_ca_file = '{clients}'"),
            format!("alter system set ssl = {ssl}"),
            format!("alter system set log_line_prefix = '{}'", self.generation),
            "select pg_reload_conf()".to_owned(),
        ] {
            self.app.database().batch_execute(&setting).await.unwrap();
        }
        // A session reads the settings after the server's first process has read them.
        let shown = "select current_setting('log_line_prefix')";
        while self
            .app
            .database()
            .query_one(shown, &[])
            .await
            .unwrap()
            .get::<_, String>(0)
            != self.generation.to_string()
        {
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Writes a file into the server's folder of data, by the server itself: it may run as another user.
    async fn write(&self, name: &str, text: &str) {
        let octal: String = text.bytes().map(|byte| format!("\\0{byte:03o}")).collect();
        let copy = format!("copy (select 1) to program $$cat > /dev/null; umask 077; printf '%b' '{octal}' > {name}$$");
        self.app.database().batch_execute(&copy).await.unwrap();
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        let url = self.app.database_url().replace("127.0.0.1", host);
        format!("{url}?{parameters}")
    }

    /// How a client with these parameters gets in: "TLS", "plain", or what the error says.
    async fn connect(&self, host: &str, parameters: &str) -> String {
        let (client, connection) = match sugang_connect::postgres::connect(&self.url(host, parameters)).await {
            Ok(connected) => connected,
            Err(error) => return error.to_string(),
        };
        tokio::spawn(connection);
        let ssl = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        match client.query_one(ssl, &[]).await.unwrap().get(0) {
            true => "TLS".to_owned(),
            false => "plain".to_owned(),
        }
    }
}

#[tokio::test]
async fn each_sslmode_accepts_what_libpq_accepts() {
    let (trusted, other) = (Authority::new("trusted"), Authority::new("other"));
    let files = Files::new();
    let ca = format!("sslrootcert={}", files.write("ca.crt", &trusted.0.pem()).display());
    let wrong_ca = format!("sslrootcert={}", files.write("other.crt", &other.0.pem()).display());
    let mut postgres = Postgres::start().await;

    let good = trusted.sign(&of_host("localhost"));
    let mut expired = of_host("localhost");
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let mut address = CertificateParams::default();
    address.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let servers: &[Server<'_>] = &[
        (
            "a good certificate",
            Some(good.clone()),
            BOTH,
            &[
                ("localhost", "sslmode=disable", "plain"),
                ("localhost", "sslmode=allow", "plain"),
                ("localhost", "sslmode=prefer", "TLS"),
                ("localhost", "", "TLS"),
                ("localhost", "sslmode=require", "TLS"),
                ("localhost", "sslmode=require&channel_binding=require", "TLS"),
                ("localhost", "sslmode=require&CA", "TLS"),
                ("localhost", "sslmode=require&OTHER", "UnknownIssuer"),
                ("localhost", "sslmode=prefer&OTHER", "plain"),
                ("localhost", "sslmode=verify-ca&CA", "TLS"),
                ("localhost", "sslmode=verify-ca&OTHER", "UnknownIssuer"),
                ("127.0.0.1", "sslmode=verify-ca&CA", "TLS"),
                ("localhost", "sslmode=verify-full&CA", "TLS"),
                ("localhost", "sslmode=verify-full&CA&channel_binding=require", "TLS"),
                ("localhost", "sslmode=verify-full&OTHER", "UnknownIssuer"),
                ("127.0.0.1", "sslmode=verify-full&CA", "not valid for name"),
            ],
        ),
        (
            "no TLS",
            None,
            BOTH,
            &[
                ("localhost", "sslmode=disable", "plain"),
                ("localhost", "sslmode=allow", "plain"),
                ("localhost", "sslmode=prefer", "plain"),
                ("localhost", "sslmode=prefer&channel_binding=require", "channel binding"),
                ("localhost", "sslmode=require", "does not support TLS"),
                ("localhost", "sslmode=verify-full&CA", "does not support TLS"),
            ],
        ),
        (
            "TLS only",
            Some(good.clone()),
            "hostssl all all all scram-sha-256",
            &[
                ("localhost", "sslmode=disable", "no pg_hba.conf entry"),
                ("localhost", "sslmode=allow", "TLS"),
                ("localhost", "sslmode=prefer", "TLS"),
            ],
        ),
        (
            "no TLS for this user",
            Some(good),
            "hostnossl all all all scram-sha-256",
            &[
                ("localhost", "sslmode=prefer", "plain"),
                ("localhost", "sslmode=require", "no pg_hba.conf entry"),
            ],
        ),
        (
            "an expired certificate",
            Some(trusted.sign(&expired)),
            BOTH,
            &[
                ("localhost", "sslmode=require", "TLS"),
                ("localhost", "sslmode=verify-ca&CA", "expired"),
                ("localhost", "sslmode=verify-full&CA", "expired"),
            ],
        ),
        (
            "the certificate of another host",
            Some(trusted.sign(&of_host("db.example"))),
            BOTH,
            &[
                ("localhost", "sslmode=verify-ca&CA", "TLS"),
                ("localhost", "sslmode=verify-full&CA", "not valid for name"),
            ],
        ),
        (
            "a common name alone",
            Some(trusted.sign(&of_common_name("localhost"))),
            BOTH,
            &[
                ("localhost", "sslmode=verify-full&CA", "TLS"),
                ("127.0.0.1", "sslmode=verify-full&CA", "not valid for name"),
            ],
        ),
        (
            "a certificate of X.509 version 1",
            Some([VERSION_1.to_owned(), VERSION_1.to_owned()]),
            BOTH,
            &[
                ("localhost", "sslmode=prefer", "TLS"),
                ("localhost", "sslmode=require", "TLS"),
                ("localhost", "sslmode=require&channel_binding=require", "TLS"),
                ("localhost", "sslmode=verify-ca&OTHER", "invalid peer certificate"),
            ],
        ),
        (
            "the certificate of an address",
            Some(trusted.sign(&address)),
            BOTH,
            &[
                ("localhost", "sslmode=verify-full&CA", "not valid for name"),
                ("127.0.0.1", "sslmode=verify-full&CA", "TLS"),
            ],
        ),
    ];
    for (server, certificate, rules, clients) in servers {
        postgres.serve(certificate.as_ref(), rules, "").await;
        for (host, parameters, expected) in *clients {
            let filled = parameters.replace("CA", &ca).replace("OTHER", &wrong_ca);
            let how = postgres.connect(host, &filled).await;
            let is_expected = match *expected {
                "TLS" | "plain" => how == *expected,
                error => how.contains(error),
            };
            assert!(is_expected, "{server}: {host} {parameters}: {how}, not {expected}");
        }
    }
}

/// The default `sslmode` does without TLS rather than without the database, and says so.
#[tokio::test]
async fn a_connection_that_loses_its_encryption_is_named() {
    let (trusted, other) = (Authority::new("trusted"), Authority::new("other"));
    let files = Files::new();
    let other = files.write("other.crt", &other.0.pem()).display().to_string();
    let mut postgres = Postgres::start().await;
    let url = postgres.url("localhost", &format!("sslrootcert={other}"));
    let good = trusted.sign(&of_host("localhost"));
    for (certificate, expected) in [(Some(&good), 1), (None, 0)] {
        postgres.serve(certificate, BOTH, "").await;
        let log = files.write("host.log", "");
        let mut host = HostProcess::logging(
            &postgres.app,
            fs::File::create(&log).unwrap(),
            &[],
            &[("database_url", &url)],
        );
        host.signal("TERM");
        host.end(Duration::from_secs(20)).await;
        let logged = fs::read_to_string(&log).unwrap();
        let warnings = logged
            .matches("the connections to PostgreSQL are not encrypted")
            .count();
        assert_eq!(warnings, expected, "{logged}");
        assert_eq!(logged.contains("UnknownIssuer"), expected > 0, "{logged}");

        let mut migrate = host_program();
        migrate.arg("migrate").env("SPIN_VARIABLE_DATABASE_URL", &url);
        let said = String::from_utf8(migrate.output().unwrap().stderr).unwrap();
        assert_eq!(said.contains("is not encrypted"), expected > 0, "{said}");
    }
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_trusted_where_it_is_named() {
    let mut parameters = of_host("localhost");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = [parameters.self_signed(&key).unwrap().pem(), key.serialize_pem()];
    let files = Files::new();
    let root = files.write("server.crt", &certificate[0]).display().to_string();
    let mut postgres = Postgres::start().await;
    postgres.serve(Some(&certificate), BOTH, "").await;
    let verify = format!("sslmode=verify-full&sslrootcert={root}");
    assert_eq!(postgres.connect("localhost", &verify).await, "TLS");
    assert_ne!(postgres.connect("127.0.0.1", &verify).await, "TLS");
}

#[tokio::test]
async fn a_client_identifies_itself_with_a_certificate() {
    let authority = Authority::new("clients");
    let mut parameters = of_common_name("sugang");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let [certificate, key] = authority.sign(&parameters);
    let files = Files::new();
    let client = format!(
        "sslmode=require&sslcert={}&sslkey={}",
        files.write("client.crt", &certificate).display(),
        files.write("client.key", &key).display()
    );
    let mut postgres = Postgres::start().await;
    let server = authority.sign(&of_host("localhost"));
    let rules = "hostssl all all all cert";
    postgres.serve(Some(&server), rules, &authority.0.pem()).await;
    assert_eq!(postgres.connect("localhost", &client).await, "TLS");
    let refused = postgres.connect("localhost", "sslmode=require").await;
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test]
async fn host_and_migrate_and_audit_speak_tls_and_trust_the_system() {
    let authority = Authority::new("trusted");
    let files = Files::new();
    let ca = files.write("ca.crt", &authority.0.pem());
    let mut postgres = Postgres::start().await;
    let server = authority.sign(&of_host("localhost"));
    postgres
        .serve(Some(&server), "hostssl all all all scram-sha-256", "")
        .await;

    let url = postgres.url("localhost", "sslrootcert=system");
    let run = |command: &str, url: &str, trusted: &Path| {
        let mut program = host_program();
        program.arg(command).env("SPIN_VARIABLE_DATABASE_URL", url);
        let output = program.env("SSL_CERT_FILE", trusted).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    for command in ["migrate", "audit"] {
        let (done, _, error) = run(command, &url, &ca);
        assert!(done, "{command}: {error}");
        let (done, _, error) = run(
            command,
            &url,
            &files.write("none.crt", &Authority::new("other").0.pem()),
        );
        assert!(!done && error.contains("UnknownIssuer"), "{command}: {error}");
    }

    let verified = format!("sslmode=verify-full&sslrootcert={}", ca.display());
    let app = App::with("database_url", postgres.url("localhost", &verified))
        .start()
        .await;
    assert_eq!(app.get("/readyz").await.status, 200);
    let encrypted = "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid)
                     where a.application_name = 'sugang-host' and s.ssl";
    let sessions: i64 = postgres.app.database().query_one(encrypted, &[]).await.unwrap().get(0);
    assert!(sessions > 0);
}

/// A Redis that speaks TLS alone; it ends when this is dropped.
struct Redis {
    process: Child,
    port: u16,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Redis {
    /// Starts one with this certificate; `None` where this machine has no `redis-server`.
    fn start(files: &Files, authority: &Authority, parameters: &CertificateParams) -> Option<Self> {
        let [certificate, key] = authority.sign(parameters);
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            "0",
            "--tls-port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]);
        command
            .arg("--tls-cert-file")
            .arg(files.write(&format!("{port}.crt"), &certificate));
        command
            .arg("--tls-key-file")
            .arg(files.write(&format!("{port}.key"), &key));
        command
            .arg("--tls-ca-cert-file")
            .arg(files.write("redis-ca.crt", &authority.0.pem()));
        command.args(["--tls-auth-clients", "no", "--requirepass", "p@ss%41"]);
        let process = command.stdout(Stdio::null()).spawn().ok()?;
        Some(Self { process, port })
    }

    /// Whether a client with this URL gets an answer, or what the error says.
    async fn ping(url: &str) -> String {
        for _ in 0..100 {
            let refused = match sugang_connect::redis::connect(url).await {
                Ok(_) => return "PONG".to_owned(),
                Err(error) => error.to_string(),
            };
            if !refused.contains("refused (os error") {
                return refused;
            }
            sleep(Duration::from_millis(50)).await;
        }
        "it does not start".to_owned()
    }
}

#[tokio::test]
async fn redis_speaks_tls_and_its_certificate_is_verified() {
    let (trusted, other) = (Authority::new("trusted"), Authority::new("other"));
    let files = Files::new();
    let ca = files.write("ca.crt", &trusted.0.pem()).display().to_string();
    let wrong_ca = files.write("other.crt", &other.0.pem()).display().to_string();
    let mut expired = of_host("localhost");
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let (Some(good), Some(old)) = (
        Redis::start(&files, &trusted, &of_host("localhost")),
        Redis::start(&files, &trusted, &expired),
    ) else {
        println!("left out: Redis with TLS; it needs the program redis-server");
        return;
    };
    let url = |redis: &Redis, host: &str, ca: &str| {
        format!("rediss://:p%40ss%2541@{host}:{}/0?ssl_ca_certs={ca}", redis.port)
    };
    let plain = format!("redis://:p%40ss%2541@localhost:{}", good.port);
    let system = plain.replace("redis://", "rediss://");
    for (url, expected) in [
        (url(&good, "localhost", &ca), "PONG"),
        (url(&good, "localhost", &wrong_ca), "UnknownIssuer"),
        (url(&good, "127.0.0.1", &ca), "not valid for name"),
        (url(&old, "localhost", &ca), "expired"),
        (
            url(&good, "localhost", &ca).replace("%2541", "A"),
            "AuthenticationFailed",
        ),
        (system, "UnknownIssuer"),
    ] {
        let answer = Redis::ping(&url).await;
        assert!(answer.contains(expected), "{url}: {answer}");
    }
    assert_ne!(Redis::ping(&plain).await, "PONG");

    let app = App::with("redis_url", url(&good, "localhost", &ca)).start().await;
    assert_eq!(app.get("/readyz").await.status, 200);
    let app = App::with("redis_url", url(&good, "localhost", &wrong_ca)).start().await;
    assert_eq!(
        app.get("/healthz").await.status,
        200,
        "it starts, and says that it goes without Redis"
    );
}
