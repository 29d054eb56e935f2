//! The parts of a URL, before any of them means something.

use percent_encoding::percent_decode_str;

use super::{HostPort, UrlError};

/// Schemes that often stand where another belongs; the message names them.
const KNOWN_SCHEMES: [&str; 19] = [
    "amqp",
    "cockroachdb",
    "http",
    "https",
    "jdbc:postgresql",
    "mariadb",
    "memcached",
    "mongodb",
    "mysql",
    "postgis",
    "postgres",
    "postgresql",
    "redis",
    "redis+unix",
    "rediss",
    "sqlite",
    "unix",
    "valkey",
    "valkeys",
];

/// What a URL of a store looks like.
pub(super) struct Form {
    pub(super) schemes: &'static [&'static str],
    /// An example for messages.
    pub(super) example: &'static str,
}

/// The parts of a URL, decoded.
pub(super) struct Split {
    /// In lower case.
    pub(super) scheme: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// The hosts with their ports, not yet decoded.
    hosts: String,
    /// What follows the slash after the hosts.
    pub(super) path: Option<String>,
    pub(super) parameters: Vec<(String, String)>,
    /// Whether the name of a parameter is no part of a password, whose `?` would begin the parameters.
    pub(super) shows_names: bool,
}

/// Splits a URL.
///
/// The last `@` before a path begins the hosts: a host cannot hold one, so a password may, as long as no `%` makes it
/// doubtful whether the password is encoded. Other characters that delimit parts must be encoded in a password.
pub(super) fn split(text: &str, form: &Form) -> Result<Split, UrlError> {
    let must_begin = || format!("must begin with {}://, as {}", form.schemes[0], form.example);
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(UrlError::new(must_begin()));
    };
    let scheme = scheme.to_ascii_lowercase();
    if !form.schemes.contains(&scheme.as_str()) {
        return Err(UrlError::new(match KNOWN_SCHEMES.contains(&scheme.as_str()) {
            true => format!("begins with {scheme}://, but {}", must_begin()),
            false => must_begin(),
        }));
    }
    if rest.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Err(UrlError::new(
            "holds a blank or a control character: write a blank in a password as %20",
        ));
    }
    if rest.contains('#') {
        return Err(UrlError::new("holds a `#`: write it in a password as %23"));
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if tail.contains('@') {
        return Err(UrlError::new(
            "holds an `@` after a `/` or a `?`: write `/` in a user name or password as %2F, `?` as %3F, and any other \
             `@` as %40",
        ));
    }
    let (user, password, hosts) = credentials(authority)?;
    let (path, query) = match tail.split_once('?') {
        Some((path, query)) => (path, query),
        None => (tail, ""),
    };
    let parameters = query.split('&').filter(|pair| !pair.is_empty()).map(parameter);
    Ok(Split {
        scheme,
        user,
        password,
        hosts: hosts.to_owned(),
        shows_names: authority.contains('@') || !authority.contains(':'),
        path: path
            .strip_prefix('/')
            .map(|path| decode(path, "its path"))
            .transpose()?,
        parameters: parameters.collect::<Result<_, _>>()?,
    })
}

type Credentials<'a> = (Option<String>, Option<String>, &'a str);

fn credentials(authority: &str) -> Result<Credentials<'_>, UrlError> {
    let Some((credentials, hosts)) = authority.rsplit_once('@') else {
        return Ok((None, None, authority));
    };
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    if password.is_some_and(|password| password.contains('@') && password.contains('%')) {
        return Err(UrlError::new(
            "has a password with a raw `@` and a `%`, which may or may not be encoded: write `@` as %40 and `%` as %25",
        ));
    }
    let filled = |part: String| Some(part).filter(|part| !part.is_empty());
    Ok((
        filled(decode(user, "its user name")?),
        password
            .map(|password| decode(password, "its password"))
            .transpose()?
            .and_then(filled),
        hosts,
    ))
}

fn parameter(pair: &str) -> Result<(String, String), UrlError> {
    let (name, value) = pair
        .split_once('=')
        .ok_or_else(|| UrlError::new("has a parameter without `=`: write `?` in a password as %3F, and `&` as %26"))?;
    Ok((decode(name, "a parameter")?, decode(value, "a parameter")?))
}

fn decode(text: &str, what: &str) -> Result<String, UrlError> {
    let is_escape = |rest: &str| {
        rest.get(..2)
            .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return Err(UrlError::new(format!(
            "has a `%` in {what} that begins no escape: write `%` as %25"
        )));
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| UrlError::new(format!("has escapes in {what} that are not UTF-8")))?;
    match decoded.contains('\0') {
        true => Err(UrlError::new(format!("has %00 in {what}, which no store can hold"))),
        false => Ok(decoded.into_owned()),
    }
}

impl Split {
    /// The hosts, each with its port; empty without any.
    pub(super) fn hosts(&self) -> Result<Vec<HostPort>, UrlError> {
        if self.hosts.is_empty() {
            return Ok(Vec::new());
        }
        self.hosts.split(',').map(host_port).collect()
    }
}

fn host_port(text: &str) -> Result<HostPort, UrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| UrlError::new("has a `[` without `]` in its host: write `[` in a password as %5B"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return Err(wrong_host()),
            }
        }
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(UrlError::new(
                    "has a wrong port; an IPv6 address stands in brackets, as [::1]:5432",
                ));
            }
            Some((host, port)) => (host, port),
            None => (text, ""),
        },
    };
    let host = decode(host, "its host")?;
    check_host(&host)?;
    let port = match port {
        "" => None,
        port => Some(self::port(port)?),
    };
    Ok(HostPort { host, port })
}

/// The beginning of a message about a parameter.
pub(super) fn unknown_parameter(name: &str, is_shown: bool) -> String {
    let is_name = |name: &str| {
        name.len() <= 40
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    match is_shown && is_name(name) {
        true => format!("has an unknown parameter `{name}`"),
        false => "has an unknown parameter".to_owned(),
    }
}

/// Parses a port.
pub(super) fn port(text: &str) -> Result<u16, UrlError> {
    let port = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    port.and_then(|port| port.parse().ok())
        .filter(|port| *port > 0)
        .ok_or_else(|| UrlError::new("has a wrong port: it must be a number from 1 to 65535"))
}

/// Accepts names, addresses and folders of sockets.
pub(super) fn check_host(host: &str) -> Result<(), UrlError> {
    let is_name = |host: &str| {
        host.chars()
            .all(|char| char.is_alphanumeric() || matches!(char, '-' | '.' | '_'))
    };
    match host {
        "" => Err(UrlError::new("names no host")),
        host if host.starts_with(['/', '@']) => Ok(()),
        host if is_name(host) || host.parse::<std::net::Ipv6Addr>().is_ok() => Ok(()),
        _ => Err(wrong_host()),
    }
}

fn wrong_host() -> UrlError {
    UrlError::new(
        "has a host with a character that no host has; in a password, encode every character but letters and digits",
    )
}
