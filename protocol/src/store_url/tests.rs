use proptest::prelude::*;

use super::*;

/// The URL as it is understood, or what is wrong with it.
fn postgres(text: &str) -> String {
    PostgresUrl::parse(text, "").map_or_else(|error| format!("it {error}"), |url| url.to_url())
}

fn redis(text: &str) -> String {
    RedisUrl::parse(text, "").map_or_else(|error| format!("it {error}"), |url| url.to_url())
}

#[test]
fn a_postgres_url_is_understood() {
    for (text, expected) in [
        ("postgres://h", "postgres://h/"),
        ("postgresql://u@h:6000/db", "postgres://u@h:6000/db"),
        ("POSTGRES://u:p@h/db", "postgres://u:p@h/db"),
        ("  postgres://u:p@h/db\n", "postgres://u:p@h/db"),
        ("postgres://u:p@[::1]:5433/db", "postgres://u:p@[::1]:5433/db"),
        (
            "postgres://u:p@h1:1,h2:2/db?target_session_attrs=primary",
            "postgres://u:p@h1:1,h2:2/db?target_session_attrs=read-write",
        ),
        ("postgres://u@h/db?port=6000", "postgres://u@h:6000/db"),
        ("postgres:///db?host=h1,h2&port=6000", "postgres://h1:6000,h2:6000/db"),
        ("postgres://u@%2Fvar%2Frun/db", "postgres://u@%2Fvar%2Frun/db"),
        (
            "postgres:///db?hostaddr=10.0.0.1",
            "postgres://10.0.0.1/db?hostaddr=10.0.0.1",
        ),
        ("postgres://u@h/db?ssl=true", "postgres://u@h/db?sslmode=require"),
        (
            "postgres://u@h/db?sslrootcert=system",
            "postgres://u@h/db?sslrootcert=system",
        ),
        (
            "postgres://u@h/db?sslmode=verify-full&sslrootcert=/etc/a b.crt"
                .replace(' ', "%20")
                .as_str(),
            "postgres://u@h/db?sslmode=verify-full&sslrootcert=%2Fetc%2Fa%20b.crt",
        ),
        (
            "postgres://u@h/db?keepalives_count=3&connect_timeout=4",
            "postgres://u@h/db?keepalives_retries=3&connect_timeout=4",
        ),
        (
            "postgres://u@h/db?client_encoding=UTF8&gssencmode=disable",
            "postgres://u@h/db",
        ),
        // Passwords as people paste them.
        ("postgres://u:p@ss@h/db", "postgres://u:p%40ss@h/db"),
        ("postgres://u:a:b@h/db", "postgres://u:a%3Ab@h/db"),
        ("postgres://u:p%40ss%2541@h/db", "postgres://u:p%40ss%2541@h/db"),
        (
            "postgres://u:비밀+&=!@h/db",
            "postgres://u:%EB%B9%84%EB%B0%80%2B%26%3D%21@h/db",
        ),
        (
            "host=h user=u password='p@ss %41\\'\\\\' dbname = db",
            "postgres://u:p%40ss%20%2541%27%5C@h/db",
        ),
        (
            "host=h user=u password=a\\ b sslmode=require",
            "postgres://u:a%20b@h/?sslmode=require",
        ),
    ] {
        assert_eq!(postgres(text), expected, "{text}");
        assert_eq!(postgres(expected), expected, "the same once more");
    }
}

#[test]
fn a_postgres_url_that_can_never_work_is_refused() {
    let mut table = String::new();
    for text in [
        "",
        "nonsense",
        "h:5432/db",
        "postgres:/h/db",
        "mysql://u:secret@h/db",
        "redis://:secret@h/0",
        "postgres://",
        "postgres:///db",
        "postgres://u:secret@/db",
        "postgres://u:secret@:5432/db",
        "postgres://u@h1,,h2/db",
        "postgres://u:secret@h:99999/db",
        "postgres://u:secret@h:abc/db",
        "postgres://u:secret@h:0/db",
        "postgres://u:secret@h:5432:1/db",
        "postgres://u:secret@::1/db",
        "postgres://u@[::1/db",
        "postgres://u@h!/db",
        "postgres://u:secret@h/a/b",
        "postgres://u:secret@h/db?sslmod=require",
        "postgres://u@h/db?sslMode=require",
        "postgres://u@h/db?verify=1",
        "postgres://u@h/db?sslmode",
        "postgres://u@h/db?sslmode=verify_full",
        "postgres://u@h/db?sslmode=require&sslmode=disable",
        "postgres://u@h/db?sslrootcert=system&sslmode=require",
        "postgres://u@h/db?sslcert=a.crt",
        "postgres://u@h/db?sslcrl=a.crl",
        "postgres://u@h/db?sslpassword=secret",
        "postgres://u@h/db?connect_timeout=soon",
        "postgres://u@h/db?target_session_attrs=standby",
        "postgres://u@h/db?channel_binding=yes",
        "postgres://u@h/db?client_encoding=latin1",
        "postgres://u@h/db?ssl=1",
        "postgres://u@h/db?hostaddr=h",
        "postgres://u@h:1/db?port=2",
        "postgres://u@h1,h2/db?hostaddr=10.0.0.1",
        "postgres://u@h1,h2,h3/db?port=1,2",
        "postgres://u@h/db?host=h2",
        "postgres://u@h/db?user=v",
        "postgres://u:se/cret@h/db",
        "postgres://u:se?cret@h/db",
        "postgres://u:se#cret@h/db",
        "postgres://u:se%cret@h/db",
        "postgres://u:100%@h/db",
        "postgres://u:se@cret%41@h/db",
        "postgres://u:se cret@h/db",
        "postgres://u:se%00cret@h/db",
        "postgres://u:se%FFcret@h/db",
        "postgres://u:se[cret",
        "host=h user=u password=se cret",
        "host=h password='secret",
        "host=h =secret",
        "user=u dbname=db",
        "host=h secret=1",
    ] {
        let answer = postgres(text);
        assert!(answer.starts_with("it "), "{text}: {answer}");
        assert!(!answer.contains("cret"), "{text}: {answer}");
        table.push_str(&format!("{text}\n  {answer}\n"));
    }
    insta::assert_snapshot!(table, @r#"
      it must begin with postgres://, as postgres://user:password@host:5432/database
    nonsense
      it must begin with postgres://, as postgres://user:password@host:5432/database
    h:5432/db
      it must begin with postgres://, as postgres://user:password@host:5432/database
    postgres:/h/db
      it must begin with postgres://, as postgres://user:password@host:5432/database
    mysql://u:secret@h/db
      it begins with mysql://, but must begin with postgres://, as postgres://user:password@host:5432/database
    redis://:secret@h/0
      it begins with redis://, but must begin with postgres://, as postgres://user:password@host:5432/database
    postgres://
      it names no host; it must be as postgres://user:password@host:5432/database
    postgres:///db
      it names no host; it must be as postgres://user:password@host:5432/database
    postgres://u:secret@/db
      it names no host; it must be as postgres://user:password@host:5432/database
    postgres://u:secret@:5432/db
      it names no host
    postgres://u@h1,,h2/db
      it names no host
    postgres://u:secret@h:99999/db
      it has a wrong port: it must be a number from 1 to 65535
    postgres://u:secret@h:abc/db
      it has a wrong port: it must be a number from 1 to 65535
    postgres://u:secret@h:0/db
      it has a wrong port: it must be a number from 1 to 65535
    postgres://u:secret@h:5432:1/db
      it has a wrong port; an IPv6 address stands in brackets, as [::1]:5432
    postgres://u:secret@::1/db
      it has a wrong port; an IPv6 address stands in brackets, as [::1]:5432
    postgres://u@[::1/db
      it has a `[` without `]` in its host: write `[` in a password as %5B
    postgres://u@h!/db
      it has a host with a character that no host has; in a password, encode every character but letters and digits
    postgres://u:secret@h/a/b
      it has a second `/` after its host: its path is the name of the database, in which `/` is written as %2F
    postgres://u:secret@h/db?sslmod=require
      it has an unknown parameter `sslmod`: perhaps sslmode is meant
    postgres://u@h/db?sslMode=require
      it has an unknown parameter `sslMode`: perhaps sslmode is meant
    postgres://u@h/db?verify=1
      it has an unknown parameter `verify`; in a password, write `?` as %3F and `&` as %26
    postgres://u@h/db?sslmode
      it has a parameter without `=`: write `?` in a password as %3F, and `&` as %26
    postgres://u@h/db?sslmode=verify_full
      it has a wrong sslmode: it must be disable, allow, prefer, require, verify-ca or verify-full
    postgres://u@h/db?sslmode=require&sslmode=disable
      it has a parameter twice
    postgres://u@h/db?sslrootcert=system&sslmode=require
      it has sslrootcert=system, which needs sslmode=verify-full: a system's authorities certify anyone's hosts
    postgres://u@h/db?sslcert=a.crt
      it must have both sslcert and sslkey, or neither
    postgres://u@h/db?sslcrl=a.crl
      it has sslcrl, which is not supported
    postgres://u@h/db?sslpassword=secret
      it has sslpassword, which is not supported: the sslkey must not be encrypted
    postgres://u@h/db?connect_timeout=soon
      it has a wrong connect_timeout: it must be a whole number
    postgres://u@h/db?target_session_attrs=standby
      it has a wrong target_session_attrs: it must be any or read-write or read-only
    postgres://u@h/db?channel_binding=yes
      it has a wrong channel_binding: it must be disable or prefer or require
    postgres://u@h/db?client_encoding=latin1
      it has a wrong client_encoding: it must be UTF8
    postgres://u@h/db?ssl=1
      it has a wrong ssl: it must be true, or sslmode in its place
    postgres://u@h/db?hostaddr=h
      it has a hostaddr that is no network address
    postgres://u@h:1/db?port=2
      it has port twice
    postgres://u@h1,h2/db?hostaddr=10.0.0.1
      it must have a hostaddr for each host, or none
    postgres://u@h1,h2,h3/db?port=1,2
      it must have a port for each host, or one for all
    postgres://u@h/db?host=h2
      it has host twice
    postgres://u@h/db?user=v
      it has user twice
    postgres://u:se/cret@h/db
      it holds an `@` after a `/` or a `?`: write `/` in a user name or password as %2F, `?` as %3F, and any other `@` as %40
    postgres://u:se?cret@h/db
      it holds an `@` after a `/` or a `?`: write `/` in a user name or password as %2F, `?` as %3F, and any other `@` as %40
    postgres://u:se#cret@h/db
      it holds a `#`: write it in a password as %23
    postgres://u:se%cret@h/db
      it has a `%` in its password that begins no escape: write `%` as %25
    postgres://u:100%@h/db
      it has a `%` in its password that begins no escape: write `%` as %25
    postgres://u:se@cret%41@h/db
      it has a password with a raw `@` and a `%`, which may or may not be encoded: write `@` as %40 and `%` as %25
    postgres://u:se cret@h/db
      it holds a blank or a control character: write a blank in a password as %20
    postgres://u:se%00cret@h/db
      it has %00 in its password, which no store can hold
    postgres://u:se%FFcret@h/db
      it has escapes in its password that are not UTF-8
    postgres://u:se[cret
      it has a wrong port: it must be a number from 1 to 65535
    host=h user=u password=se cret
      it has a word that is no `name=value`: put a value with blanks into single quotes
    host=h password='secret
      it has a quote that does not end: write `'` in a value as \'
    host=h =secret
      it has a word that is no `name=value`: put a value with blanks into single quotes
    user=u dbname=db
      it names no host; it must be as postgres://user:password@host:5432/database
    host=h secret=1
      it has an unknown parameter; in a password, write `?` as %3F and `&` as %26
    "#);
}

#[test]
fn a_redis_url_is_understood() {
    for (text, expected) in [
        ("redis://h", "redis://h:6379/0"),
        ("redis://h:7000/3/", "redis://h:7000/3"),
        ("valkey://h/1", "redis://h:6379/1"),
        ("redis://:p@ss@h", "redis://:p%40ss@h:6379/0"),
        ("redis://u:p%40ss%2541@[::1]/0", "redis://u:p%40ss%2541@[::1]:6379/0"),
        ("redis://h?protocol=3", "redis://h:6379/0?protocol=resp3"),
        ("rediss://:p@h:6380/0", "rediss://:p@h:6380/0"),
        (
            "rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs=/ca.crt",
            "rediss://h:6379/0?ssl_ca_certs=%2Fca.crt",
        ),
    ] {
        assert_eq!(redis(text), expected, "{text}");
        assert_eq!(redis(expected), expected, "the same once more");
    }
}

#[test]
fn a_redis_url_that_can_never_work_is_refused() {
    let mut table = String::new();
    for text in [
        "",
        "h:6379",
        "postgres://u:secret@h/db",
        "http://h",
        "redis://",
        "redis:///0",
        "redis://:secret@/0",
        "redis://h:99999",
        "redis://h:port",
        "redis://h/first",
        "redis://h/-1",
        "redis://h/99999999999",
        "redis://h/0/1",
        "redis://h1,h2",
        "redis://secret@h",
        "unix:///run/redis.sock",
        "redis+unix:///run/redis.sock",
        "redis://%2Frun%2Fredis",
        "rediss://h/0#insecure",
        "redis://h/#0",
        "redis://h?ssl_ca_certs=/ca.crt",
        "rediss://h?ssl_cert_reqs=none",
        "rediss://h?ssl_ca_certs=",
        "rediss://h?ssl_certfile=/a",
        "redis://h?protocol=4",
        "redis://h?db=1",
        "redis://h?timeout",
        "redis://:se/cret@h",
        "redis://:se?cret@h",
        "redis://:se#cret@h",
        "redis://:se%cret@h",
        "redis://:se@cret%41@h",
    ] {
        let answer = redis(text);
        assert!(answer.starts_with("it "), "{text}: {answer}");
        assert!(!answer.contains("cret"), "{text}: {answer}");
        table.push_str(&format!("{text}\n  {answer}\n"));
    }
    insta::assert_snapshot!(table, @"
      it must begin with redis://, as redis://:password@host:6379/0
    h:6379
      it must begin with redis://, as redis://:password@host:6379/0
    postgres://u:secret@h/db
      it begins with postgres://, but must begin with redis://, as redis://:password@host:6379/0
    http://h
      it begins with http://, but must begin with redis://, as redis://:password@host:6379/0
    redis://
      it names no host
    redis:///0
      it names no host
    redis://:secret@/0
      it names no host
    redis://h:99999
      it has a wrong port: it must be a number from 1 to 65535
    redis://h:port
      it has a wrong port: it must be a number from 1 to 65535
    redis://h/first
      it has a wrong database: after the `/` stands its number, as /0
    redis://h/-1
      it has a wrong database: after the `/` stands its number, as /0
    redis://h/99999999999
      it has a wrong database: after the `/` stands its number, as /0
    redis://h/0/1
      it has a wrong database: after the `/` stands its number, as /0
    redis://h1,h2
      it names several hosts, but must name one
    redis://secret@h
      it has a user without a password; a password without a user follows a colon, as redis://:password@host
    unix:///run/redis.sock
      it names a Unix socket, which is not supported: use TCP, as redis://:password@host:6379/0
    redis+unix:///run/redis.sock
      it names a Unix socket, which is not supported: use TCP, as redis://:password@host:6379/0
    redis://%2Frun%2Fredis
      it names a Unix socket, which is not supported: use TCP
    rediss://h/0#insecure
      it ends with #insecure, which would accept any certificate: name the authority with ?ssl_ca_certs=FILE
    redis://h/#0
      it holds a `#`: write it in a password as %23
    redis://h?ssl_ca_certs=/ca.crt
      it has a parameter for TLS, which needs rediss:// in place of redis://
    rediss://h?ssl_cert_reqs=none
      it must have ssl_cert_reqs=required: a certificate that is not verified protects nothing
    rediss://h?ssl_ca_certs=
      it has ssl_ca_certs without a file
    rediss://h?ssl_certfile=/a
      it must have both ssl_certfile and ssl_keyfile, or neither
    redis://h?protocol=4
      it must have protocol=2 or protocol=3
    redis://h?db=1
      it has an unknown parameter `db`; known are protocol, ssl_ca_certs, ssl_cert_reqs, ssl_certfile and ssl_keyfile
    redis://h?timeout
      it has a parameter without `=`: write `?` in a password as %3F, and `&` as %26
    redis://:se/cret@h
      it holds an `@` after a `/` or a `?`: write `/` in a user name or password as %2F, `?` as %3F, and any other `@` as %40
    redis://:se?cret@h
      it holds an `@` after a `/` or a `?`: write `/` in a user name or password as %2F, `?` as %3F, and any other `@` as %40
    redis://:se#cret@h
      it holds a `#`: write it in a password as %23
    redis://:se%cret@h
      it has a `%` in its password that begins no escape: write `%` as %25
    redis://:se@cret%41@h
      it has a password with a raw `@` and a `%`, which may or may not be encoded: write `@` as %40 and `%` as %25
    ");
}

#[test]
fn a_password_of_another_setting_completes_the_url() {
    let postgres = |url| PostgresUrl::parse(url, "p@ss%41").map(|url| url.to_url());
    assert_eq!(
        postgres("postgres://u@h/db"),
        Ok("postgres://u:p%40ss%2541@h/db".to_owned())
    );
    assert_eq!(
        postgres("postgres://u:other@h/db"),
        Err(UrlError::new(
            "has a password, and the setting for the password is set as well: remove one of them"
        ))
    );
    let redis = |url| RedisUrl::parse(url, "p@ss%41").map(|url| url.to_url());
    assert_eq!(redis("redis://h"), Ok("redis://:p%40ss%2541@h:6379/0".to_owned()));
    assert_eq!(redis("redis://u@h"), Ok("redis://u:p%40ss%2541@h:6379/0".to_owned()));
}

proptest! {
    #[test]
    fn any_password_is_the_same_after_encoding(password in "[^\\x00]{1,20}") {
        let url = PostgresUrl::parse("postgres://u@h/db", &password).unwrap().to_url();
        prop_assert_eq!(PostgresUrl::parse(&url, "").unwrap().password, Some(password.clone()));
        let url = RedisUrl::parse("redis://h", &password).unwrap().to_url();
        prop_assert_eq!(RedisUrl::parse(&url, "").unwrap().password, Some(password));
    }

    /// A raw password is understood as it stands, or refused without a part of it in the message.
    #[test]
    fn a_raw_password_is_understood_or_refused(password in "XQ[!-~]{1,12}XQ") {
        prop_assume!(!password.contains('%'));
        match PostgresUrl::parse(&format!("postgres://u:{password}@h/db"), "") {
            Ok(url) => prop_assert_eq!(url.password, Some(password.clone())),
            Err(error) => prop_assert!(!error.to_string().contains("XQ"), "{}", error),
        }
        match RedisUrl::parse(&format!("redis://:{password}@h"), "") {
            Ok(url) => prop_assert_eq!(url.password, Some(password)),
            Err(error) => prop_assert!(!error.to_string().contains("XQ"), "{}", error),
        }
    }
}
