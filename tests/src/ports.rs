//! Ports for servers that are told where to listen.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// Below those that an operating system gives where any will do.
const PORTS: u16 = 12_000;
const FIRST: u16 = 20_000;

/// Returns a port of 127.0.0.1 at which nothing listens, another one each time: no other test gets it while its server
/// starts, or starts again.
///
/// # Panics
/// All of them are taken.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Several test programs at once begin at different ones.
    let begin = (std::process::id() * 97 % u32::from(PORTS)) as u16;
    (0..PORTS)
        .map(|_| FIRST + (begin + NEXT.fetch_add(1, Relaxed) % PORTS) % PORTS)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
