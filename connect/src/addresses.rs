//! The addresses that a name has, and in which order they are connected to.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::{net::lookup_host, time::timeout};

/// For how long an address that was passed over is the last one that is tried.
const MEMORY: Duration = Duration::from_secs(60);

/// The addresses of a name, in the order of the system, at least one.
///
/// # Errors
/// The name is unknown, or no server of names answers.
pub(crate) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in lookup_host((host, port)).await? {
        // A file of hosts may name one twice.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address")),
        false => Ok(addresses),
    }
}

/// Makes one attempt after another until one succeeds, and returns its number and what it gave.
///
/// An attempt begins as soon as the one before it fails. If that only takes long, it begins after `delay`, and the one
/// before it goes on (RFC 8305): a server that is slow for all is not given up for one that may be no faster. Attempts
/// that have not ended by then are dropped.
///
/// # Errors
/// Every attempt failed; the errors, in the order in which the attempts ended.
pub(crate) async fn first<T, E, F>(attempts: Vec<F>, delay: Duration) -> Result<(usize, T), Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = attempts.into_iter().enumerate();
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        if let Some((number, attempt)) = waiting.next() {
            running.push(async move { (number, attempt.await) });
        }
        let ended = match waiting.len() {
            0 => running.next().await,
            _ => match timeout(delay, running.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Some((number, Ok(opened))) => return Ok((number, opened)),
            Some((_, Err(error))) => errors.push(error),
            None => return Err(errors),
        }
    }
}

/// Puts servers or addresses into an order of chance, as `load_balance_hosts=random` asks for.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    // Every state has other keys.
    items.sort_by_cached_key(|_| RandomState::new().build_hasher().finish());
}

/// Addresses that failed or were silent while another one of the same name answered. Remembering them for a minute
/// spares each connection the wait for a server that is down.
#[derive(Default)]
pub(crate) struct PassedOver(Mutex<Vec<(SocketAddr, Instant)>>);

impl PassedOver {
    /// Puts the addresses that were passed over behind the others.
    pub(crate) fn put_last(&self, addresses: &mut [SocketAddr]) {
        let mut passed = self.locked();
        passed.retain(|(_, since)| since.elapsed() < MEMORY);
        addresses.sort_by_key(|address| passed.iter().any(|(known, _)| known == address));
    }

    /// Notes which of the addresses, tried in this order, was the first to answer.
    pub(crate) fn note(&self, addresses: &[SocketAddr], answered: usize) {
        let mut passed = self.locked();
        let (before, behind) = addresses.split_at(answered);
        passed.retain(|(known, _)| !before.contains(known) && behind.first() != Some(known));
        passed.extend(before.iter().map(|address| (*address, Instant::now())));
    }

    fn locked(&self) -> MutexGuard<'_, Vec<(SocketAddr, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    const DELAY: Duration = Duration::from_millis(200);

    enum Attempt {
        Fails,
        Succeeds,
        SucceedsAfter(Duration),
        IsSilent,
    }

    async fn tried(attempts: Vec<Attempt>) -> (Result<usize, usize>, Duration) {
        let began = Instant::now();
        let attempts: Vec<_> = attempts
            .into_iter()
            .map(|attempt| async move {
                match attempt {
                    Attempt::Fails => return Err(()),
                    Attempt::Succeeds => {}
                    Attempt::SucceedsAfter(time) => sleep(time).await,
                    Attempt::IsSilent => pending().await,
                }
                Ok(())
            })
            .collect();
        let tried = first(attempts, DELAY).await;
        let tried = tried.map(|(number, ())| number).map_err(|errors| errors.len());
        (tried, began.elapsed())
    }

    #[tokio::test]
    async fn the_first_that_succeeds_is_taken() {
        use Attempt::{Fails, IsSilent, Succeeds, SucceedsAfter};
        for (attempts, expected, waits) in [
            (vec![Succeeds, Succeeds], Ok(0), 0),
            (vec![Fails, Fails, Succeeds], Ok(2), 0),
            (vec![IsSilent, Succeeds], Ok(1), 1),
            (vec![IsSilent, IsSilent, Fails, Succeeds], Ok(3), 2),
            // It goes on beside the next ones.
            (vec![SucceedsAfter(DELAY * 3 / 2), IsSilent], Ok(0), 1),
            (vec![SucceedsAfter(DELAY * 3 / 2), Fails], Ok(0), 1),
            (vec![Fails, Fails], Err(2), 0),
            (vec![], Err(0), 0),
        ] {
            let (tried, took) = tried(attempts).await;
            assert_eq!(tried, expected);
            assert!(took >= DELAY * waits && took < DELAY * (waits + 1), "{took:?}");
        }
    }

    #[test]
    fn what_was_passed_over_is_tried_last() {
        let [one, two, three]: [SocketAddr; 3] = [1, 2, 3].map(|last| SocketAddr::from(([127, 0, 0, last], 5432)));
        let passed = PassedOver::default();
        let ordered = || {
            let mut addresses = [one, two, three];
            passed.put_last(&mut addresses);
            addresses
        };
        assert_eq!(ordered(), [one, two, three]);
        passed.note(&[one, two, three], 1);
        assert_eq!(ordered(), [two, three, one]);
        passed.note(&[two, three, one], 0);
        assert_eq!(ordered(), [two, three, one]);
        passed.note(&[two, three, one], 2);
        assert_eq!(ordered(), [one, two, three], "it answers again, and the others do not");
    }
}
