//! `postgres://`, and the same as `name=value`.

use std::net::IpAddr;

use super::{ClientCertificate, HostPort, UrlError, escape, keywords, set_password, split};

const FORM: split::Form = split::Form {
    schemes: &["postgres", "postgresql"],
    example: "postgres://user:password@host:5432/database",
};

/// Parameters of libpq that this program does not support, with all that it knows of.
const UNSUPPORTED: [&str; 26] = [
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslsni",
];

/// Parameters that this program supports.
const SUPPORTED: [&str; 28] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "ssl",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// How a connection is encrypted, as libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only where the server refuses a connection without.
    Allow,
    /// Where the server can.
    Prefer,
    /// Always; the certificate is verified only against a `sslrootcert`.
    Require,
    /// Always, with a certificate of a trusted authority.
    VerifyCa,
    /// Always, with a certificate of a trusted authority for the host that the URL names.
    VerifyFull,
}

impl SslMode {
    const NAMES: [(&str, Self); 6] = [
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    fn parse(text: &str) -> Result<Self, UrlError> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, mode)| *mode).ok_or_else(|| {
            UrlError::new("has a wrong sslmode: it must be disable, allow, prefer, require, verify-ca or verify-full")
        })
    }

    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(_, mode)| *mode == self)
            .map_or("", |(name, _)| name)
    }
}

/// The address of a PostgreSQL: one server, or several of which the first that fits is taken.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// The hosts, at least one; each has a port or none of them.
    pub hosts: Vec<HostPort>,
    /// The addresses that are connected to in place of the hosts, or none.
    pub addresses: Vec<IpAddr>,
    /// The user; by default that of the process.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The database; by default the one named like the user.
    pub database: Option<String>,
    /// `sslmode`, where it is set.
    ssl_mode: Option<SslMode>,
    /// `sslrootcert`: the path of a PEM file with the authorities, or `system` for those of the system.
    pub authorities: Option<String>,
    /// `sslcert` and `sslkey`.
    pub client_certificate: Option<ClientCertificate>,
    /// Further settings of the connection, under the driver's names, with checked values.
    pub settings: Vec<(&'static str, String)>,
}

impl PostgresUrl {
    /// The port of a PostgreSQL whose URL names none.
    pub const PORT: u16 = 5432;

    /// Parses a URL, or libpq's `name=value` form; `password` is that of another setting, or empty.
    ///
    /// # Errors
    /// The URL can never work.
    pub fn parse(text: &str, password: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let begins_as_url = text
            .split_once("://")
            .is_some_and(|(scheme, _)| !scheme.contains(['=', ' ']));
        let mut parsed = match begins_as_url || !text.contains('=') {
            true => Self::parse_url(text)?,
            false => {
                let mut parsed = Self::empty();
                let parameters = Parameters::default();
                parameters.read(&mut parsed, keywords::parse(text)?)?;
                parsed
            }
        };
        set_password(&mut parsed.password, password)?;
        parsed.check()?;
        Ok(parsed)
    }

    fn empty() -> Self {
        Self {
            hosts: Vec::new(),
            addresses: Vec::new(),
            user: None,
            password: None,
            database: None,
            ssl_mode: None,
            authorities: None,
            client_certificate: None,
            settings: Vec::new(),
        }
    }

    fn parse_url(text: &str) -> Result<Self, UrlError> {
        let url = split::split(text, &FORM)?;
        let mut parsed = Self::empty();
        parsed.hosts = url.hosts()?;
        parsed.user = url.user;
        parsed.password = url.password;
        parsed.database = url.path.filter(|path| !path.is_empty());
        let parameters = Parameters {
            shows_names: url.shows_names,
            ..Parameters::default()
        };
        parameters.read(&mut parsed, url.parameters)?;
        if text
            .split(['?'])
            .next()
            .is_some_and(|text| text.matches('/').count() > 3)
        {
            return Err(UrlError::new(
                "has a second `/` after its host: its path is the name of the database, in which `/` is written as %2F",
            ));
        }
        Ok(parsed)
    }

    fn check(&mut self) -> Result<(), UrlError> {
        if self.hosts.is_empty() {
            // TLS verifies the server's address then.
            let host = |address: &IpAddr| HostPort {
                host: address.to_string(),
                port: None,
            };
            self.hosts = self.addresses.iter().map(host).collect();
        }
        match (self.hosts.len(), self.addresses.len()) {
            (0, _) => return Err(UrlError::new(format!("names no host; it must be as {}", FORM.example))),
            (_, 0) => {}
            (hosts, addresses) if hosts == addresses => {}
            _ => return Err(UrlError::new("must have a hostaddr for each host, or none")),
        }
        for host in &self.hosts {
            split::check_host(&host.host)?;
        }
        let is_system = self.authorities.as_deref() == Some("system");
        if is_system && self.ssl_mode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            return Err(UrlError::new(
                "has sslrootcert=system, which needs sslmode=verify-full: a system's authorities certify anyone's hosts",
            ));
        }
        Ok(())
    }

    /// `sslmode`, or its default: `verify-full` with the system's authorities, else `prefer`.
    pub fn ssl_mode(&self) -> SslMode {
        let default = match self.authorities.as_deref() {
            Some("system") => SslMode::VerifyFull,
            _ => SslMode::Prefer,
        };
        self.ssl_mode.unwrap_or(default)
    }

    /// Whether it names files of this machine, other than a socket.
    pub fn names_files(&self) -> bool {
        self.client_certificate.is_some() || self.authorities.as_deref().is_some_and(|name| name != "system")
    }

    /// Whether it names a socket of this machine in place of a host.
    pub fn has_socket(&self) -> bool {
        self.hosts.iter().any(HostPort::is_socket)
    }

    /// Whether its server of this number, from 0, is reached over a socket: a `hostaddr` takes the socket's place.
    pub fn is_socket(&self, index: usize) -> bool {
        self.addresses.is_empty() && self.hosts.get(index).is_some_and(HostPort::is_socket)
    }

    /// The same address as a URL in which everything is encoded. It holds the password.
    pub fn to_url(&self) -> String {
        let host = |host: &HostPort| {
            let port = host.port.map(|port| format!(":{port}")).unwrap_or_default();
            match host.host.contains(':') {
                true => format!("[{}]{port}", host.host),
                false => format!("{}{port}", escape(&host.host)),
            }
        };
        let hosts: Vec<_> = self.hosts.iter().map(host).collect();
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let credentials = match (&self.user, &self.password) {
            (None, None) => String::new(),
            (Some(user), None) => format!("{}@", escape(user)),
            (user, Some(password)) => format!("{}:{}@", escape(user.as_deref().unwrap_or_default()), escape(password)),
        };
        let client = self.client_certificate.as_ref();
        let mut parameters = vec![
            ("hostaddr", (!addresses.is_empty()).then(|| addresses.join(","))),
            ("sslmode", self.ssl_mode.map(|mode| mode.name().to_owned())),
            ("sslrootcert", self.authorities.clone()),
            ("sslcert", client.map(|client| client.certificate.clone())),
            ("sslkey", client.map(|client| client.key.clone())),
        ];
        parameters.extend(self.settings.iter().map(|(name, value)| (*name, Some(value.clone()))));
        let parameters: Vec<_> = parameters
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_deref()?))))
            .collect();
        format!(
            "postgres://{credentials}{}/{}{}{}",
            hosts.join(","),
            escape(self.database.as_deref().unwrap_or_default()),
            if parameters.is_empty() { "" } else { "?" },
            parameters.join("&")
        )
    }
}

/// What parameters say that only together has a meaning.
#[derive(Default)]
struct Parameters {
    shows_names: bool,
    ports: Vec<u16>,
    certificate: Option<String>,
    key: Option<String>,
    fallback_name: Option<String>,
}

impl Parameters {
    fn read(mut self, url: &mut PostgresUrl, pairs: Vec<(String, String)>) -> Result<(), UrlError> {
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &pairs {
            if seen.contains(&name.as_str()) {
                return Err(UrlError::new("has a parameter twice"));
            }
            seen.push(name);
            self.read_one(url, name, value.clone())?;
        }
        match self.ports.as_slice() {
            [] => {}
            _ if url.hosts.iter().any(|host| host.port.is_some()) => return Err(twice("port")),
            ports if ports.len() == 1 || ports.len() == url.hosts.len() => {
                for (index, host) in url.hosts.iter_mut().enumerate() {
                    host.port = ports.get(index).or(ports.first()).copied();
                }
                // An address without a host.
                if url.hosts.is_empty() {
                    let host = |address: &IpAddr| HostPort {
                        host: address.to_string(),
                        port: Some(ports[0]),
                    };
                    url.hosts = url.addresses.iter().map(host).collect();
                }
            }
            _ => return Err(UrlError::new("must have a port for each host, or one for all")),
        }
        url.client_certificate = ClientCertificate::pair(("sslcert", self.certificate), ("sslkey", self.key))?;
        let has_name = url.settings.iter().any(|(name, _)| *name == "application_name");
        if let Some(name) = self.fallback_name.filter(|_| !has_name) {
            url.settings.push(("application_name", name));
        }
        Ok(())
    }

    fn read_one(&mut self, url: &mut PostgresUrl, name: &str, value: String) -> Result<(), UrlError> {
        match name {
            "host" => {
                let hosts = value.split(',').map(|host| HostPort {
                    host: host.to_owned(),
                    port: None,
                });
                let hosts: Vec<_> = hosts.collect();
                match url.hosts.is_empty() {
                    true => url.hosts = hosts,
                    false => return Err(twice("host")),
                }
            }
            "hostaddr" => {
                let addresses: Result<_, _> = value.split(',').map(str::parse).collect();
                url.addresses = addresses.map_err(|_| UrlError::new("has a hostaddr that is no network address"))?;
            }
            "port" => self.ports = value.split(',').map(split::port).collect::<Result<_, _>>()?,
            "user" => once(&mut url.user, value, "user")?,
            "password" => once(&mut url.password, value, "password")?,
            "dbname" => once(&mut url.database, value, "dbname")?,
            "sslmode" => once(&mut url.ssl_mode, SslMode::parse(&value)?, "sslmode")?,
            "ssl" if value == "true" => once(&mut url.ssl_mode, SslMode::Require, "sslmode")?,
            "sslrootcert" => once(&mut url.authorities, value, name)?,
            "sslcert" => self.certificate = Some(value),
            "sslkey" => self.key = Some(value),
            "fallback_application_name" => self.fallback_name = Some(value),
            _ => {
                if let Some((name, value)) = setting(name, value, self.shows_names)? {
                    url.settings.push((name, value));
                }
            }
        }
        Ok(())
    }
}

/// A setting of the connection under the driver's name; `None` for one that changes nothing.
fn setting(name: &str, value: String, is_shown: bool) -> Result<Option<(&'static str, String)>, UrlError> {
    let one_of = |name: &'static str, values: &[&str]| match values.contains(&value.as_str()) {
        true => Ok(Some((name, value.clone()))),
        false => Err(UrlError::new(format!(
            "has a wrong {name}: it must be {}",
            values.join(" or ")
        ))),
    };
    let whole = |name: &'static str| match value.parse::<u32>() {
        Ok(_) => Ok(Some((name, value.clone()))),
        Err(_) => Err(UrlError::new(format!("has a wrong {name}: it must be a whole number"))),
    };
    match name {
        "application_name" => Ok(Some(("application_name", value))),
        "options" => Ok(Some(("options", value))),
        "connect_timeout" => whole("connect_timeout"),
        "tcp_user_timeout" => whole("tcp_user_timeout"),
        "keepalives" => one_of("keepalives", &["0", "1"]),
        "keepalives_idle" => whole("keepalives_idle"),
        "keepalives_interval" => whole("keepalives_interval"),
        "keepalives_count" | "keepalives_retries" => whole("keepalives_retries"),
        "channel_binding" => one_of("channel_binding", &["disable", "prefer", "require"]),
        "load_balance_hosts" => one_of("load_balance_hosts", &["disable", "random"]),
        "target_session_attrs" if value == "primary" => Ok(Some(("target_session_attrs", "read-write".to_owned()))),
        "target_session_attrs" => one_of("target_session_attrs", &["any", "read-write", "read-only"]),
        "sslnegotiation" => one_of("sslnegotiation", &["postgres"]).map(|_| None),
        "gssencmode" => one_of("gssencmode", &["disable", "prefer"]).map(|_| None),
        "client_encoding" => match value.to_ascii_lowercase().replace('-', "").as_str() {
            "utf8" | "auto" => Ok(None),
            _ => Err(UrlError::new("has a wrong client_encoding: it must be UTF8")),
        },
        "ssl" => Err(UrlError::new(
            "has a wrong ssl: it must be true, or sslmode in its place",
        )),
        "sslpassword" => Err(UrlError::new(
            "has sslpassword, which is not supported: the sslkey must not be encrypted",
        )),
        name => Err(match UNSUPPORTED.iter().find(|known| **known == name) {
            Some(known) => UrlError::new(format!("has {known}, which is not supported")),
            None => unknown(name, is_shown),
        }),
    }
}

/// A message that names what was probably meant.
fn unknown(name: &str, is_shown: bool) -> UrlError {
    let message = split::unknown_parameter(name, is_shown);
    let near = SUPPORTED.iter().find(|known| is_near(known, name));
    UrlError::new(match near {
        Some(known) => format!("{message}: perhaps {known} is meant"),
        None => format!("{message}; in a password, write `?` as %3F and `&` as %26"),
    })
}

/// Whether one inserted, deleted or changed character, or an exchange of two, makes one of the other; or case or a `-`.
fn is_near(known: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let (known, name) = (known.as_bytes(), name.as_bytes());
    let prefix = known.iter().zip(name).take_while(|(one, other)| one == other).count();
    let rest = (&known[prefix..], &name[prefix..]);
    let behind = |text: &'_ [u8], count: usize| text.get(count..).map(<[u8]>::to_vec);
    rest.0 == rest.1
        || behind(rest.0, 1).as_deref() == Some(rest.1)
        || behind(rest.1, 1).as_deref() == Some(rest.0)
        || (behind(rest.0, 1).is_some() && behind(rest.0, 1) == behind(rest.1, 1))
        || (behind(rest.0, 2).is_some() && behind(rest.0, 2) == behind(rest.1, 2))
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), UrlError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice(name)),
    }
}

fn twice(name: &str) -> UrlError {
    UrlError::new(format!("has {name} twice"))
}
