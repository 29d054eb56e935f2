//! Delivers events to the service, as they come up.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use crate::{event::Event, shared::Shared};

/// Between two looks for events.
const INTERVAL: Duration = Duration::from_millis(50);

/// How often an event is tried.
const EVENT_TRIES: u32 = 8;

/// Delivers events as they come up, each until the service has answered 2xx. Without a service, they wait.
pub(crate) async fn deliver(shared: Arc<Shared>) {
    let mut deliveries = JoinSet::new();
    loop {
        sleep(INTERVAL).await;
        let Some(service) = shared.service() else {
            continue;
        };
        for event in shared.take_events() {
            for millis in shared.delays() {
                let (service, event) = (service.clone(), event.clone());
                deliveries.spawn(async move {
                    sleep(Duration::from_millis(millis)).await;
                    deliver_one(&service, event).await;
                });
            }
        }
        while deliveries.try_join_next().is_some() {}
    }
}

async fn deliver_one(service: &str, mut event: Event) {
    while event.tries < EVENT_TRIES {
        if let Some(200..300) = event.deliver(service).await {
            return;
        }
        sleep(Duration::from_millis(200 << event.tries)).await;
        event.tries += 1;
    }
}
