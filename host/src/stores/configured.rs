//! The stores that variables of the application name: checked before the server listens.

use std::collections::HashMap;

use sugang_protocol::store_url::{PostgresUrl, RedisUrl, UrlError};

use crate::error::StartError;

/// The URLs of both stores, with their passwords in them; `None` for a variable that the application has not, or that is
/// empty.
pub(crate) struct StoreUrls {
    pub(super) postgres: Option<String>,
    pub(super) redis: Option<String>,
}

impl StoreUrls {
    /// Reads `database_url` and `redis_url`, with `database_password` and `redis_password`.
    ///
    /// # Errors
    /// One of them can never work.
    pub(crate) fn read(variables: &HashMap<String, String>) -> Result<Self, StartError> {
        let value = |name: &str| variables.get(name).map_or("", String::as_str);
        let wrong = |name: &'static str| move |error: UrlError| misconfigured(name, &error);
        let (postgres, redis) = (value("database_url").trim(), value("redis_url").trim());
        let filled = |url: &str| (!url.is_empty()).then_some(());
        let postgres = filled(postgres).map(|()| PostgresUrl::parse(postgres, value("database_password")));
        let redis = filled(redis).map(|()| RedisUrl::parse(redis, value("redis_password")));
        Ok(Self {
            postgres: postgres
                .transpose()
                .map_err(wrong("database_url"))?
                .map(|url| url.to_url()),
            redis: redis.transpose().map_err(wrong("redis_url"))?.map(|url| url.to_url()),
        })
    }
}

/// A setting of a store that can never work.
pub(super) fn misconfigured(name: &str, fault: &dyn std::fmt::Display) -> StartError {
    StartError::Misconfigured {
        detail: format!("{name} {fault}"),
    }
}
