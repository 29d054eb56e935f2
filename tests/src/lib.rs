//! The harness of the end-to-end tests.
//!
//! A test arranges (`App::start`, `app.user`, `app.add`), makes one request (`app.get("/tests/").by(&minsu).await`) and
//! compares the whole answer with what stands in the test (`assert_answer!(answer, @"…")`).
//!
//! - [`App`] is the service of one test: the real component on the real host, with a database and a Redis database of
//!   its own. All apps share one engine and one compiled component, so a test costs milliseconds.
//! - [`Answer`] checks what every answer must hold before a test sees it (ids, codes, headers, no internal text), and
//!   in a snapshot hides only what differs from run to run, after it has checked what that is.
//! - [`TossServer`], [`PortOneServer`], [`KakaoPayServer`] and [`StripeServer`] are stand-ins for payment gateways, with books of
//!   their own; [`LocalStripe`] is one from PyPI.
//! - [`Kind`] describes exams and courses: what is written for a kind runs for both.
//! - [`ENDPOINTS`] is the one list of paths for everything that must hold on all of them.
//! - [`Browser`] is a Chromium that shows the service's pages.
//! - [`HostProcess`] is a further host on an app's stores, and [`Call::at`] sends a request there.
//! - [`PgBouncer`] is a pooler before PostgreSQL.
//! - [`Proxy`] stands between the service and a store, to cut, hang or slow down the link.
//! - [`Receiver`] gets webhooks.
//! - [`RedisServer`] is a Redis of one test's own, in any mode.

mod answer;
mod app;
mod arrange;
mod browser;
mod call;
mod endpoints;
mod gateway;
mod host;
mod kind;
mod localstripe;
mod pgbouncer;
mod ports;
mod proxy;
mod raw;
mod receiver;
mod redis_server;
mod standby;
mod stores;
mod supervisor;
pub mod token;

use std::sync::LazyLock;

pub use answer::Answer;
pub use app::{App, Builder};
pub use arrange::{Item, PASSWORD, User};
pub use browser::{Browser, ENTER, ESCAPE, TAB};
pub use call::Call;
pub use endpoints::{ENDPOINTS, Endpoint, OWN_METHODS, spellings};
pub use gateway::{
    KAKAOPAY_CID, KAKAOPAY_SECRET, KakaoPayServer, PORTONE_SECRET, PORTONE_WEBHOOK_SECRET, PortOneServer,
    STAND_IN_STRIPE_SECRET, STAND_IN_STRIPE_WEBHOOK_SECRET, StandInProcess, StripeServer, TOSS_SECRET, TossServer,
};
pub use host::{HostOptions, HostProcess, host_program};
pub use kind::{COURSE, EXAM, Kind, Says};
pub use localstripe::{LocalStripe, STRIPE_SECRET};
pub use pgbouncer::PgBouncer;
pub use ports::free_port;
pub use proxy::{Link, Proxy};
pub use raw::{RawClient, RawResponse};
pub use receiver::{Got, Receiver, Reply};
pub use redis_server::RedisServer;
pub use standby::{Replicated, postgres_program};
pub use sugang_gateway::{Entry, Event, Plan, Return, StandIn, Way};
pub use supervisor::{Supervisor, xtask};
#[doc(hidden)]
pub use {insta, serde_json};

/// The runtime of everything that outlives one test or serves several: a test's own runtime ends with it.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime for the tests")
    });
    &RUNTIME
}
