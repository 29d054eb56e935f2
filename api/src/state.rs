//! What an instance of the component keeps between requests: the configuration, the keys and the connections.

use std::{cell::OnceCell, rc::Rc};

use futures::lock::Mutex;

use crate::{
    auth::{passwords, tokens::Keys},
    config::Config,
    error::Misconfigured,
    log::Throttle,
    store::{Database, Redis},
};

/// The state that the concurrent requests of an instance share. It holds nothing of a single request.
pub(crate) struct AppState {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) database: Database,
    pub(crate) redis: Redis,
    /// Locked by the request that has a long file in memory.
    pub(crate) long_file: Mutex<()>,
    /// Of events that are forged.
    pub(crate) forged_events: Throttle,
}

thread_local! {
    static STATE: OnceCell<Rc<AppState>> = const { OnceCell::new() };
}

impl AppState {
    /// Returns the state, which the first request creates. If that fails, the next request tries again.
    ///
    /// # Errors
    /// The configuration breaks a rule.
    pub(crate) async fn get() -> Result<Rc<Self>, Misconfigured> {
        if let Some(state) = STATE.with(|state| state.get().cloned()) {
            return Ok(state);
        }
        let config = Config::read(&passwords::MAX_COST).await?;
        let state = Rc::new(Self {
            keys: Keys::new(&config.jwt_keys),
            database: Database::new(
                config.database_url.clone(),
                config.database_connections,
                config.database_timeout,
                config.lock_timeout,
            ),
            redis: Redis::new(
                config.redis_url.clone(),
                config.redis_key_prefix.clone(),
                config.redis_timeout,
            ),
            long_file: Mutex::new(()),
            forged_events: Throttle::default(),
            config,
        });
        // A concurrent first request may have been faster; all requests then share its state.
        Ok(STATE.with(|first| first.get_or_init(|| state).clone()))
    }
}
