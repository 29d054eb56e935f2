//! What an instance keeps between requests: the configuration and its connections. The state of one request never
//! stands here, since an instance serves several at a time.

use std::{cell::OnceCell, rc::Rc};

use crate::{
    config::{Config, Misconfigured},
    db::Database,
    redis::Redis,
};

/// See the module.
pub struct Instance {
    /// What the operator has set.
    pub config: Config,
    /// PostgreSQL.
    pub database: Database,
    /// Redis.
    pub redis: Redis,
}

thread_local! {
    static INSTANCE: OnceCell<Rc<Instance>> = const { OnceCell::new() };
}

impl Instance {
    /// The instance, after its first request has read the configuration. Where that fails, the next one tries again.
    ///
    /// # Errors
    /// The configuration is not what it must be.
    pub async fn get() -> Result<Rc<Self>, Misconfigured> {
        if let Some(instance) = INSTANCE.with(|instance| instance.get().cloned()) {
            return Ok(instance);
        }
        let config = Config::read().await?;
        let instance = Rc::new(Self {
            database: Database::new(
                config.database_url.clone(),
                config.database_connections,
                config.database_timeout,
            ),
            redis: Redis::new(config.redis_url.clone(), config.redis_timeout),
            config,
        });
        // Another request may have been faster meanwhile; its instance is then everybody's.
        Ok(INSTANCE.with(|kept| kept.get_or_init(|| instance).clone()))
    }
}
