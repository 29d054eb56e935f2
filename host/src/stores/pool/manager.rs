//! What a pool is told: how its connections are opened and ended, and its limits.

use std::time::Duration;

/// Opens, checks, cleans and ends the connections of a pool.
pub(in crate::stores) trait Manager: Send + Sync + 'static {
    type Connection: Send + Sync + 'static;

    /// Opens a connection within a time limit of its own.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, ConnectError>> + Send;

    /// Whether the connection is known to be lost.
    fn is_closed(&self, connection: &Self::Connection) -> bool;

    /// Whether the connection is to be replaced by a new one as soon as it is old enough to be worth the price.
    fn is_second_rate(&self, connection: &Self::Connection) -> bool;

    /// Asks the server for a sign of life.
    fn check(&self, connection: &Self::Connection) -> impl Future<Output = bool> + Send;

    /// Removes what a borrower may have left, an open transaction included if `in_transaction`. Returns whether the
    /// connection is as good as new.
    fn clean(&self, connection: &Self::Connection, in_transaction: bool) -> impl Future<Output = bool> + Send;

    /// Ends a connection on which nothing runs.
    fn discard(&self, connection: &Self::Connection);

    /// Ends a connection on which something may still run, and cancels that.
    fn abandon(&self, connection: &Self::Connection) -> impl Future<Output = ()> + Send;
}

/// Why no connection was opened.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::stores) enum ConnectError {
    /// No attempt can succeed until an operator changes a setting.
    Refused(String),
    /// The server has no room for another connection; those that are open still serve.
    Full(String),
    /// Anything else.
    Failed(String),
}

/// Upper bounds of a pool.
#[derive(Clone)]
pub(in crate::stores) struct PoolLimits {
    /// Connections.
    pub(in crate::stores) connections: usize,
    /// Statements that are executed concurrently.
    pub(in crate::stores) statements: usize,
    /// The wait for a connection.
    pub(in crate::stores) wait: Duration,
    /// The time to clean a connection.
    pub(in crate::stores) recycle: Duration,
    /// The time that an idle connection is kept.
    pub(in crate::stores) idle: Duration,
    /// The time that a connection is used at all.
    pub(in crate::stores) age: Duration,
    /// The pause after which a connection is checked before its next use.
    pub(in crate::stores) pause: Duration,
    /// The time for a sign of life.
    pub(in crate::stores) check: Duration,
}

/// Why the pool gives out no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("all {connections} connections stayed in use for {wait:?}")]
    Exhausted { connections: usize, wait: Duration },
    #[error("too many statements wait for the same row or table")]
    Crowded,
    #[error("the server is stopping")]
    Stopping,
    #[error("{0}")]
    Connect(String),
}
