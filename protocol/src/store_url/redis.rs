//! `redis://` and `rediss://`.

use super::{ClientCertificate, HostPort, UrlError, escape, set_password, split};

const FORM: split::Form = split::Form {
    schemes: &["redis", "rediss", "valkey", "valkeys"],
    example: "redis://:password@host:6379/0",
};

/// The address of a Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether the connection is encrypted, as `rediss://` has it. The server's certificate is then verified.
    pub tls: bool,
    /// The host and its port.
    pub host: HostPort,
    /// The user, unless it is the default one.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The number of the database.
    pub database: u32,
    /// Whether the connection speaks RESP3.
    pub resp3: bool,
    /// The path of a PEM file with the authorities that may have signed the server's certificate, in place of the
    /// system's (`ssl_ca_certs`).
    pub authorities: Option<String>,
    /// The client's own certificate (`ssl_certfile`, `ssl_keyfile`).
    pub client_certificate: Option<ClientCertificate>,
}

impl RedisUrl {
    /// The port of a Redis whose URL names none.
    pub const PORT: u16 = 6379;

    /// Parses a URL; `password` is that of another setting, or empty.
    ///
    /// # Errors
    /// The URL can never work.
    pub fn parse(text: &str, password: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.starts_with("unix:") || text.starts_with("redis+unix:") || text.starts_with("valkey+unix:") {
            return Err(UrlError::new(format!(
                "names a Unix socket, which is not supported: use TCP, as {}",
                FORM.example
            )));
        }
        if text.ends_with("#insecure") {
            return Err(UrlError::new(
                "ends with #insecure, which would accept any certificate: name the authority with ?ssl_ca_certs=FILE",
            ));
        }
        let url = split::split(text, &FORM)?;
        let tls = matches!(url.scheme.as_str(), "rediss" | "valkeys");
        let mut hosts = url.hosts()?;
        if hosts.len() > 1 {
            return Err(UrlError::new("names several hosts, but must name one"));
        }
        let host = hosts.pop().ok_or_else(|| UrlError::new("names no host"))?;
        if host.is_socket() {
            return Err(UrlError::new("names a Unix socket, which is not supported: use TCP"));
        }
        let mut parsed = Self {
            tls,
            host,
            user: url.user,
            password: url.password,
            database: database(url.path.as_deref().unwrap_or_default())?,
            resp3: false,
            authorities: None,
            client_certificate: None,
        };
        parsed.read_parameters(url.parameters, url.shows_names)?;
        set_password(&mut parsed.password, password)?;
        match (&parsed.user, &parsed.password) {
            (Some(_), None) => Err(UrlError::new(
                "has a user without a password; a password without a user follows a colon, as redis://:password@host",
            )),
            _ => Ok(parsed),
        }
    }

    fn read_parameters(&mut self, parameters: Vec<(String, String)>, shows_names: bool) -> Result<(), UrlError> {
        let (mut certificate, mut key) = (None, None);
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in parameters {
            if seen.contains(&name) {
                return Err(UrlError::new("has a parameter twice"));
            }
            if name.starts_with("ssl_") && !self.tls {
                return Err(UrlError::new(
                    "has a parameter for TLS, which needs rediss:// in place of redis://",
                ));
            }
            match (name.as_str(), value.as_str()) {
                ("protocol", "2" | "resp2") | ("ssl_cert_reqs", "required" | "CERT_REQUIRED") => {}
                ("protocol", "3" | "resp3") => self.resp3 = true,
                ("protocol", _) => return Err(UrlError::new("must have protocol=2 or protocol=3")),
                ("ssl_cert_reqs", _) => {
                    return Err(UrlError::new(
                        "must have ssl_cert_reqs=required: a certificate that is not verified protects nothing",
                    ));
                }
                ("ssl_ca_certs" | "ssl_certfile" | "ssl_keyfile", "") => {
                    return Err(UrlError::new(format!("has {name} without a file")));
                }
                ("ssl_ca_certs", _) => self.authorities = Some(value),
                ("ssl_certfile", _) => certificate = Some(value),
                ("ssl_keyfile", _) => key = Some(value),
                _ => {
                    let message = split::unknown_parameter(&name, shows_names);
                    return Err(UrlError::new(format!(
                        "{message}; known are protocol, ssl_ca_certs, ssl_cert_reqs, ssl_certfile and ssl_keyfile"
                    )));
                }
            }
            seen.push(name);
        }
        self.client_certificate = ClientCertificate::pair(("ssl_certfile", certificate), ("ssl_keyfile", key))?;
        Ok(())
    }

    /// Whether it names files of this machine.
    pub fn names_files(&self) -> bool {
        self.client_certificate.is_some() || self.authorities.is_some()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.host.port.unwrap_or(Self::PORT)
    }

    /// The same address as a URL in which everything is encoded. It holds the password.
    pub fn to_url(&self) -> String {
        let host = match self.host.host.contains(':') {
            true => format!("[{}]", self.host.host),
            false => escape(&self.host.host),
        };
        let credentials = match (&self.user, &self.password) {
            (None, None) => String::new(),
            (user, password) => format!(
                "{}:{}@",
                escape(user.as_deref().unwrap_or_default()),
                escape(password.as_deref().unwrap_or_default())
            ),
        };
        let client = self.client_certificate.as_ref();
        let parameters = [
            ("protocol", self.resp3.then_some("resp3")),
            ("ssl_ca_certs", self.authorities.as_deref()),
            ("ssl_certfile", client.map(|client| client.certificate.as_str())),
            ("ssl_keyfile", client.map(|client| client.key.as_str())),
        ];
        let parameters: Vec<_> = parameters
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", escape((*value)?))))
            .collect();
        format!(
            "{}://{credentials}{host}:{}/{}{}{}",
            if self.tls { "rediss" } else { "redis" },
            self.port(),
            self.database,
            if parameters.is_empty() { "" } else { "?" },
            parameters.join("&")
        )
    }
}

fn database(path: &str) -> Result<u32, UrlError> {
    match path.strip_suffix('/').unwrap_or(path) {
        "" => Ok(0),
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse().map_err(|_| wrong_database()),
        _ => Err(wrong_database()),
    }
}

fn wrong_database() -> UrlError {
    UrlError::new("has a wrong database: after the `/` stands its number, as /0")
}
