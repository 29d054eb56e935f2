//! A small host for the Spin component of this workspace.
//!
//! It reads `spin.toml`, serves the component's `wasi:http/handler` over HTTP/1.1 and HTTP/2, and provides PostgreSQL, Redis,
//! outgoing HTTP and configuration variables behind the interfaces that `spin-sdk` imports. The tests use it, and so do machines without
//! Spin; `spin up` serves the same file.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use sugang_host::{Application, Settings};
//!
//! let application = Application::load("spin.toml".as_ref()).await?;
//! let server = application
//!     .serve(Settings {
//!         variables: [("jwt_secret".to_owned(), "…".to_owned())].into(),
//!         ..Settings::default()
//!     })
//!     .await?;
//! println!("http://{}", server.addr());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! One [`Application`] (the manifest and the compiled component) serves many [`Server`]s at once; each has variables,
//! instances and connections of its own.
//!
//! Each layer uses only those below it:
//!
//! | module | responsibility |
//! |---|---|
//! | `application` | puts everything together |
//! | `server` | accepts connections, admits requests, answers what the component cannot |
//! | `instances` | runs the component, with limits and a fair share of the processors |
//! | `wit` | implements Spin's interfaces on top of the stores |
//! | `stores` | pools connections to PostgreSQL and Redis, and checks addresses; knows no WebAssembly |
//! | `outbound` | sends HTTP requests to the servers that the manifest allows |
//! | `manifest` | reads `spin.toml` and gives the variables their values |
//! | `environment`, `error`, `settings`, `log`, `sync` | what all of them share |

mod application;
mod environment;
mod error;
mod instances;
mod log;
mod manifest;
mod outbound;
mod server;
mod settings;
mod stores;
mod sync;
mod wit;

pub use application::Application;
pub use environment::{EnvironmentError, environment};
pub use error::StartError;
pub use log::{LOG_QUEUE_BYTES, flush_log, log_notice, log_panics, queue_log};
pub use server::Server;
pub use settings::{Limits, OutboundLimits, PostgresLimits, Prepare, RedisLimits, Settings, default_parallelism};
