//! Redis clusters: a node that does not have a key names the one that has it.
//!
//! A component opens one address, that of any node. The host sends a command on to the node that it belongs to, and
//! remembers that node for the keys with the same tag, until it gives no answer: its successor may have taken over. While
//! keys move from one node to another (`ASK`), nothing is remembered. Spin's interface has no word for a cluster.

use std::{collections::HashMap, sync::Mutex};

use redis::{Cmd, RedisError};
use url::Url;

use super::commands::{Sharing, sharing};
use crate::sync::lock;

/// The most tags whose node is remembered; a further one forgets all.
const MAX_PLACES: usize = 1024;

/// The nodes of keys that the opened address does not have: by that address and the tag of the key.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<Place, String>>);

/// An opened address, and the tag of a key.
pub(super) type Place = (String, Vec<u8>);

impl Places {
    pub(super) fn get(&self, place: &Place) -> Option<String> {
        lock(&self.0).get(place).cloned()
    }

    pub(super) fn set(&self, place: Place, node: String) {
        let mut places = lock(&self.0);
        if places.len() >= MAX_PLACES {
            places.clear();
        }
        places.insert(place, node);
    }

    /// Forgets the node of a place when the guard is dropped, unless a node has answered. It is also dropped when the
    /// component stops waiting, as it does for a node that hangs.
    pub(super) fn forget_unless_answered<'a>(&'a self, place: &'a Place) -> ForgetUnlessAnswered<'a> {
        ForgetUnlessAnswered {
            places: self,
            place,
            answered: false,
        }
    }
}

pub(super) struct ForgetUnlessAnswered<'a> {
    places: &'a Places,
    place: &'a Place,
    pub(super) answered: bool,
}

impl Drop for ForgetUnlessAnswered<'_> {
    fn drop(&mut self) {
        if !self.answered {
            lock(&self.places.0).remove(self.place);
        }
    }
}

/// Another node, to which a command is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirection {
    /// It has the key.
    Moved(String),
    /// It has the key while the keys around it still move there. The others stay where they are.
    Ask(String),
}

/// The place of the command's key; none for a command that changes or blocks its connection, or has no key.
pub(super) fn place(address: &str, name: &str, command: &Cmd) -> Option<Place> {
    match sharing(name) {
        Sharing::Shared => tag(name, command).map(|tag| (address.to_owned(), tag)),
        Sharing::Dedicated | Sharing::Refused => None,
    }
}

/// The part of a command's key that decides on its node: what stands in the first braces, or all of it.
fn tag(name: &str, command: &Cmd) -> Option<Vec<u8>> {
    let is_script = ["EVAL", "EVALSHA", "FCALL"]
        .iter()
        .any(|script| script.eq_ignore_ascii_case(name));
    let mut arguments = command.args_iter().filter_map(|argument| match argument {
        redis::Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    // The name, and for a script its text and the number of its keys.
    let key = arguments.nth(if is_script { 3 } else { 1 })?;
    let braced = key.iter().position(|byte| *byte == b'{').and_then(|opening| {
        let inside = &key[opening + 1..];
        let length = inside.iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &inside[..length])
    });
    Some(braced.unwrap_or(key).to_vec())
}

/// The node that has the key. Its address has user, password and path of the one that was asked.
pub(super) fn redirection(error: &RedisError, asked: &str) -> Option<Redirection> {
    let (node, _) = error.redirect_node()?;
    let (host, port) = node.rsplit_once(':')?;
    let mut url = Url::parse(asked).ok()?;
    // Without a host it is the one that was asked.
    if !host.is_empty() {
        let host = host.trim_matches(['[', ']']);
        let bracketed = format!("[{host}]");
        url.set_host(Some(if host.contains(':') { &bracketed } else { host }))
            .ok()?;
    }
    url.set_port(Some(port.parse().ok()?)).ok()?;
    Some(match error.code()? {
        "ASK" => Redirection::Ask(url.into()),
        _ => Redirection::Moved(url.into()),
    })
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, ServerErrorKind, cmd};

    use super::*;

    #[test]
    fn a_key_belongs_to_its_tag() {
        let tag = |name: &str, arguments: &[&str]| {
            let tag = tag(name, cmd(name).arg(arguments)).unwrap_or_default();
            String::from_utf8(tag).unwrap()
        };
        assert_eq!(tag("SET", &["{sugang}:lock", "x", "NX"]), "sugang");
        assert_eq!(tag("eval", &["return 1", "2", "{sugang}:a", "{sugang}:b"]), "sugang");
        for (key, expected) in [
            ("a{b}c{d}", "b"),
            ("{}a", "{}a"),
            ("a{b", "a{b"),
            ("a}b{c}", "c"),
            ("plain", "plain"),
        ] {
            assert_eq!(tag("GET", &[key]), expected);
        }
        assert_eq!(tag("PING", &[]), "");
    }

    #[test]
    fn a_redirection_keeps_everything_but_host_and_port() {
        let moved = |code: ServerErrorKind, node: &str| {
            let error = RedisError::from((ErrorKind::Server(code), "", format!("7360 {node}")));
            redirection(&error, "redis://user:secret@first:7000/0")
        };
        let address = |host: &str| format!("redis://user:secret@{host}/0");
        let expected = |host: &str| Some(Redirection::Moved(address(host)));
        assert_eq!(
            moved(ServerErrorKind::Moved, "10.0.0.2:7001"),
            expected("10.0.0.2:7001")
        );
        assert_eq!(moved(ServerErrorKind::Moved, ":7001"), expected("first:7001"));
        assert_eq!(moved(ServerErrorKind::Moved, "::1:7001"), expected("[::1]:7001"));
        assert_eq!(
            moved(ServerErrorKind::Ask, "10.0.0.2:7001"),
            Some(Redirection::Ask(address("10.0.0.2:7001")))
        );
        assert_eq!(moved(ServerErrorKind::TryAgain, "10.0.0.2:7001"), None);
        assert_eq!(moved(ServerErrorKind::Moved, "?:x"), None);
    }

    #[test]
    fn a_place_is_forgotten_unless_its_node_answers() {
        let places = Places::default();
        let place = (String::new(), b"sugang".to_vec());
        places.set(place.clone(), "redis://a".to_owned());
        places.forget_unless_answered(&place).answered = true;
        assert_eq!(places.get(&place).as_deref(), Some("redis://a"));
        drop(places.forget_unless_answered(&place));
        assert_eq!(places.get(&place), None);
    }

    #[test]
    fn the_number_of_places_is_bounded() {
        let places = Places::default();
        for number in 0..MAX_PLACES * 3 {
            places.set((String::new(), number.to_string().into_bytes()), "redis://a".to_owned());
        }
        assert!(lock(&places.0).len() <= MAX_PLACES);
    }
}
