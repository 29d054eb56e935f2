//! The URLs of the stores: passwords with any character, URLs that can never work, and stores that cannot be used now.

use std::{net::TcpListener, process::Output};

use sugang_tests::{App, host_program, xtask};
use tokio::net::{TcpStream, UnixListener};

const PASSWORD: &str = "p@ss%41";

/// A user of both stores with [`PASSWORD`], and the URLs of both without it.
struct Pasted {
    app: App,
    user: String,
    /// `host:port/database`.
    database: String,
    redis: String,
}

impl Pasted {
    async fn new() -> Self {
        let app = App::start().await;
        let after_user = |url: &str| url.rsplit_once('@').map(|(_, rest)| rest.to_owned()).expect("a user");
        let (database, redis) = (after_user(app.database_url()), after_user(app.redis_url()));
        let name = database.rsplit_once('/').expect("a database").1;
        let user = format!("pasted_{name}");
        let create = format!("create role {user} login superuser password '{PASSWORD}'");
        app.database().batch_execute(&create).await.unwrap();
        let mut connection = sugang_connect::redis::connect(app.redis_url()).await.unwrap();
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(&user).arg("on").arg(format!(">{PASSWORD}"));
        command.arg("~*").arg("&*").arg("+@all");
        command.exec_async(&mut connection).await.unwrap();
        Self {
            app,
            user,
            database,
            redis,
        }
    }

    /// Serves with these variables, and returns the status of `/readyz`.
    async fn serve(&self, variables: &[(&str, String)]) -> u16 {
        let start = variables
            .iter()
            .fold(App::with("log_requests", "false"), |app, (name, value)| {
                app.with(name, value)
            });
        let app = start.start().await;
        app.get("/readyz").await.status.as_u16()
    }

    async fn end(self) {
        let mut connection = sugang_connect::redis::connect(self.app.redis_url()).await.unwrap();
        redis::cmd("ACL")
            .arg("DELUSER")
            .arg(&self.user)
            .exec_async(&mut connection)
            .await
            .unwrap();
        let drop = format!("drop role {}", self.user);
        self.app.database().batch_execute(&drop).await.unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[tokio::test]
async fn a_password_with_any_character_works_everywhere() {
    let pasted = Pasted::new().await;
    let Pasted {
        user, database, redis, ..
    } = &pasted;

    // Encoded in the URLs.
    let encoded = format!("postgres://{user}:p%40ss%2541@{database}");
    let variables = [
        ("database_url", encoded.clone()),
        ("redis_url", format!("redis://{user}:p%40ss%2541@{redis}")),
    ];
    assert_eq!(pasted.serve(&variables).await, 200);
    // As it is, in settings of their own.
    let apart = format!("postgres://{user}@{database}");
    let variables = [
        ("database_url", apart.clone()),
        ("database_password", PASSWORD.to_owned()),
        ("redis_url", format!("redis://{user}@{redis}")),
        ("redis_password", PASSWORD.to_owned()),
    ];
    assert_eq!(pasted.serve(&variables).await, 200);

    // The tools.
    for command in ["migrate", "audit"] {
        for (url, password) in [(&encoded, ""), (&apart, PASSWORD)] {
            let mut host = host_program();
            host.arg(command).env("SPIN_VARIABLE_DATABASE_URL", url);
            done(host.env("SPIN_VARIABLE_DATABASE_PASSWORD", password).output().unwrap());
            let mut tool = xtask();
            tool.arg(command).env("DATABASE_URL", url);
            done(tool.env("DATABASE_PASSWORD", password).output().unwrap());
        }
    }
    pasted.end().await;
}

fn done(output: Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_url_that_can_never_work_stops_the_start() {
    let app = App::start().await;
    for (variable, value, fault) in [
        (
            "database_url",
            "mysql://u:secret@db/sugang",
            "begins with mysql://, but must begin with postgres://, as postgres://user:password@host:5432/database",
        ),
        (
            "database_url",
            "redis://:secret@cache/0",
            "begins with redis://, but must begin with postgres://, as postgres://user:password@host:5432/database",
        ),
        (
            "database_url",
            "db.internal:5432/sugang",
            "must begin with postgres://, as postgres://user:password@host:5432/database",
        ),
        (
            "database_url",
            "postgres://u:secret@db:99999/sugang",
            "has a wrong port: it must be a number from 1 to 65535",
        ),
        (
            "database_url",
            "postgres://u:secret@db:abc/sugang",
            "has a wrong port: it must be a number from 1 to 65535",
        ),
        (
            "database_url",
            "postgres://u:secret@/sugang",
            "names no host; it must be as postgres://user:password@host:5432/database",
        ),
        (
            "database_url",
            "postgres://u:secret@db/sugang?sslmod=require",
            "has an unknown parameter `sslmod`: perhaps sslmode is meant",
        ),
        (
            "database_url",
            "postgres://u:secret@db/sugang?sslmode=verify_full",
            "has a wrong sslmode: it must be disable, allow, prefer, require, verify-ca or verify-full",
        ),
        (
            "database_url",
            "postgres://u:secret@db/sugang?sslmode=verify-full",
            "has a wrong sslrootcert: this sslmode verifies, so it must name a file with the authorities that sign the server's certificate, or system for those of the system",
        ),
        (
            "database_url",
            "postgres://u:secret@db/sugang?sslmode=verify-ca&sslrootcert=/nowhere/ca.crt",
            "has a wrong sslrootcert: cannot read /nowhere/ca.crt: No such file or directory (os error 2)",
        ),
        (
            "database_url",
            "postgres://u:secret@db/sugang?sslmode=verify-ca&sslrootcert=/dev/null",
            "has a wrong sslrootcert: /dev/null holds no certificate in PEM",
        ),
        (
            "database_url",
            "postgres://u:secret@%2Fvar%2Frun%2Fpostgresql/sugang",
            "names a Unix socket, which the host does not open: name a host, as postgres://user:password@host/database",
        ),
        (
            "database_url",
            "postgres://u:se/cret@db/sugang",
            "holds an `@` after a `/` or a `?`: write `/` in a user name or password as %2F, `?` as %3F, and any other `@` as %40",
        ),
        (
            "database_url",
            "postgres://u:se%cret@db/sugang",
            "has a `%` in its password that begins no escape: write `%` as %25",
        ),
        (
            "database_url",
            "postgres://u:se@cret%41@db/sugang",
            "has a password with a raw `@` and a `%`, which may or may not be encoded: write `@` as %40 and `%` as %25",
        ),
        (
            "redis_url",
            "postgres://u:secret@db/sugang",
            "begins with postgres://, but must begin with redis://, as redis://:password@host:6379/0",
        ),
        (
            "redis_url",
            "redis://:secret@cache:99999",
            "has a wrong port: it must be a number from 1 to 65535",
        ),
        (
            "redis_url",
            "redis://:secret@cache/first",
            "has a wrong database: after the `/` stands its number, as /0",
        ),
        (
            "redis_url",
            "redis://:secret@cache/0?ssl_ca_certs=/ca.crt",
            "has a parameter for TLS, which needs rediss:// in place of redis://",
        ),
        (
            "redis_url",
            "rediss://:secret@cache/0?ssl_ca_certs=/nowhere/ca.crt",
            "has a wrong ssl_ca_certs: cannot read /nowhere/ca.crt: No such file or directory (os error 2)",
        ),
        (
            "redis_url",
            "rediss://:secret@cache/0#insecure",
            "ends with #insecure, which would accept any certificate: name the authority with ?ssl_ca_certs=FILE",
        ),
        (
            "redis_url",
            "unix:///run/redis.sock",
            "names a Unix socket, which is not supported: use TCP, as redis://:password@host:6379/0",
        ),
    ] {
        let why = app.refuses(variable, value).await;
        assert_eq!(
            why,
            format!("the application is misconfigured: {variable} {fault}"),
            "{value}"
        );
        assert!(!why.contains("cret") && why.lines().count() == 1, "{why}");
    }
    let twice = app.refuses("database_password", "secret").await;
    let fault = "has a password, and the setting for the password is set as well: remove one of them";
    assert_eq!(twice, format!("the application is misconfigured: database_url {fault}"));
}

#[tokio::test]
async fn programs_refuse_such_a_url_with_one_line() {
    for (url, fault) in [
        (
            "mysql://u:secret@db/sugang",
            "begins with mysql://, but must begin with postgres://",
        ),
        (
            "postgres://u:secret@db/sugang?sslmod=require",
            "has an unknown parameter `sslmod`: perhaps sslmode is meant",
        ),
    ] {
        let mut serve = host_program();
        serve.args(["--listen", "127.0.0.1:0"]);
        serve.env("SPIN_VARIABLE_REDIS_URL", "redis://cache");
        serve.env("SPIN_VARIABLE_JWT_SECRET", "0123456789abcdef0123456789abcdef");
        let mut commands = vec![(serve, "database_url ")];
        for command in ["migrate", "audit"] {
            let mut host = host_program();
            host.arg(command);
            commands.push((host, "--database-url (SPIN_VARIABLE_DATABASE_URL) "));
        }
        for command in ["migrate", "audit", "seed", "explain"] {
            let mut tool = xtask();
            tool.arg(command);
            commands.push((tool, "--database (DATABASE_URL) "));
        }
        for (mut command, setting) in commands {
            command.env("SPIN_VARIABLE_DATABASE_URL", url).env("DATABASE_URL", url);
            let output = command.env("RUST_BACKTRACE", "0").output().unwrap();
            let error = text(&output.stderr);
            assert!(!output.status.success() && !error.contains("secret"), "{error}");
            assert!(error.contains(&format!("{setting}{fault}")), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

/// As libpq, which tries the next server after `connect_timeout`.
#[tokio::test]
async fn a_server_that_is_silent_is_passed_over() {
    let app = App::start().await;
    // The kernel takes the connections, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let behind_it = |url: &str| {
        let (credentials, server) = url.rsplit_once('@').expect("a user");
        format!("{credentials}@{},{server}", silent.local_addr().unwrap())
    };
    let served = App::with("database_url", behind_it(app.service_url())).start().await;
    assert_eq!(served.get("/readyz").await.status, 200);
    for command in ["migrate", "audit"] {
        let url = format!("{}?connect_timeout=1", behind_it(app.database_url()));
        let mut host = host_program();
        host.arg(command).env("SPIN_VARIABLE_DATABASE_URL", &url);
        done(host.output().unwrap());
        let mut tool = xtask();
        done(tool.arg(command).env("DATABASE_URL", &url).output().unwrap());
    }
}

/// As libpq, whose psql ignores `sslmode` there. The host that serves opens no socket.
#[tokio::test(flavor = "multi_thread")]
async fn the_tools_ignore_sslmode_over_a_socket() {
    let app = App::start().await;
    let (credentials, rest) = app.database_url().rsplit_once('@').expect("a user");
    let (server, database) = rest.split_once('/').expect("a database");
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
    let server = server.to_owned();
    let passing = tokio::spawn(async move {
        while let Ok((mut client, _)) = socket.accept().await {
            let mut server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    let host = folder.path().to_str().unwrap().replace('/', "%2F");
    for sslmode in ["require", "verify-ca", "verify-full"] {
        let url = format!("{credentials}@{host}/{database}?sslmode={sslmode}");
        let mut audit = host_program();
        done(
            audit
                .arg("audit")
                .env("SPIN_VARIABLE_DATABASE_URL", &url)
                .output()
                .unwrap(),
        );
        let mut audit = xtask();
        done(audit.arg("audit").env("DATABASE_URL", &url).output().unwrap());
        let why = app.refuses("database_url", &url).await;
        assert!(
            why.contains("names a Unix socket, which the host does not open"),
            "{why}"
        );
    }
    passing.abort();
}

#[tokio::test]
async fn a_store_that_cannot_be_used_now_is_named_at_the_start() {
    let app = App::start().await;
    let (server, _) = app.database_url().rsplit_once('/').expect("a database");
    let (credentials, host) = server.rsplit_once('@').expect("a user");
    let (user, _) = credentials.rsplit_once(':').expect("a password");
    for (url, expected) in [
        (format!("{server}/missing"), "database \\\"missing\\\" does not exist"),
        (
            format!("{user}:wrong@{host}/postgres"),
            "password authentication failed",
        ),
        ("postgres://u:secret@127.0.0.1:1/db".to_owned(), "Connection refused"),
    ] {
        let mut serve = host_program();
        serve
            .args(["--listen", "127.0.0.1:0"])
            .env("SPIN_VARIABLE_DATABASE_URL", &url);
        serve.env("SPIN_VARIABLE_REDIS_URL", "redis://:secret@127.0.0.1:1");
        serve.env("SPIN_VARIABLE_JWT_SECRET", "0123456789abcdef0123456789abcdef");
        let lines = first_warnings(serve);
        let of = |variable: &str| lines.iter().find(|line| line.contains(variable)).expect(variable);
        assert!(of("database_url").contains(expected), "{lines:?}");
        assert!(of("redis_url").contains("Connection refused"), "{lines:?}");
        assert!(
            !lines.concat().contains("secret") && !lines.concat().contains("wrong@"),
            "{lines:?}"
        );
    }
}

/// Starts a host, reads its log until it has named both stores and serves, and ends it.
fn first_warnings(mut serve: std::process::Command) -> Vec<String> {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
    };
    let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut serving = String::new();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    stdout.read_line(&mut serving).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(serving.starts_with("Serving on"), "{serving}");
    let stderr = BufReader::new(process.stderr.take().unwrap());
    let lines = stderr.lines().map(Result::unwrap);
    lines.filter(|line| line.contains("cannot be used now")).collect()
}
