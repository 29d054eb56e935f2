//! What a client waits for: the outcome that a gateway has not told yet, and the end of an order's time.

use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::sleep;

use super::{Error, Keyed, Orders};
use crate::types::{ApproveOrder, Order, OrderStatus, Settlement};

/// The time between the first two looks. It doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest time between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The pauses between looks at something whose outcome is not known, until a time limit.
pub(super) struct Pauses {
    begun: Instant,
    limit: Duration,
    next: Duration,
}

impl Pauses {
    pub(super) fn within(limit: Duration) -> Self {
        Self {
            begun: Instant::now(),
            limit,
            next: FIRST_PAUSE,
        }
    }

    /// Waits until the next look, and returns whether there is one: the last is at the limit.
    pub(super) async fn pause(&mut self) -> bool {
        let left = self.limit.saturating_sub(self.begun.elapsed());
        if left.is_zero() {
            return false;
        }
        sleep(self.next.min(left)).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}

impl Keyed<ApproveOrder, Order> {
    /// Sends the approval, and waits as [`Orders::known`] does, for at most `limit`.
    ///
    /// # Errors
    /// Those of [`Orders::approve`]. A gateway that declines at once is
    /// [`PaymentDeclined`](crate::types::ErrorCode::PaymentDeclined); one that declines later leaves the order `held`, with
    /// its reason in `declined_code`.
    pub async fn wait(self, limit: Duration) -> Result<Order, Error> {
        let begun = Instant::now();
        let order = self.send().await?;
        if order.status != OrderStatus::Approving {
            return Ok(order);
        }
        let left = limit.saturating_sub(begun.elapsed());
        Orders::new(self.session().clone()).known(order.id, left).await
    }
}

impl<B: Serialize, T: DeserializeOwned> Keyed<B, Settlement<T>> {
    /// Sends the request, and the same one again until the gateway has given the money back or refuses to, for at most
    /// `limit`. What is still pending then goes on without the client.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn wait(self, limit: Duration) -> Result<Settlement<T>, Error> {
        let mut pauses = Pauses::within(limit);
        loop {
            let settlement = self.send().await?;
            if matches!(settlement, Settlement::Done(_)) || !pauses.pause().await {
                return Ok(settlement);
            }
        }
    }
}

/// Counts down the time for which an order holds its seat, by the server's clock: that of the device may be wrong.
///
/// It ends late by the time that the response was on its way, at most: the service decides.
#[derive(Debug, Clone, Copy)]
pub struct Countdown {
    begun: Instant,
    time: Duration,
}

impl Countdown {
    /// Begins the countdown of an order that has just been received.
    pub fn of(order: &Order) -> Self {
        Self {
            begun: Instant::now(),
            time: order.time_left(),
        }
    }

    /// Returns the time that is left; zero once it has passed.
    pub fn left(&self) -> Duration {
        self.time.saturating_sub(self.begun.elapsed())
    }
}
