//! Why a server does not start.

use std::{io, net::SocketAddr};

use crate::environment::EnvironmentError;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable that the manifest requires has no value.
    #[error(
        "the variable `{name}` is required and not set: set {environment} in the environment, or pass --variable {name}=…"
    )]
    MissingVariable {
        /// The variable.
        name: String,
        /// The environment variable that sets it.
        environment: String,
    },
    /// A value of the environment cannot be read.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The settings give a value to a variable that the manifest does not declare.
    #[error("the application has no variable `{name}`")]
    UnknownVariable {
        /// The variable.
        name: String,
    },
    /// An entry of `allowed_outbound_hosts` cannot be parsed.
    #[error("{0:#}")]
    OutboundHosts(anyhow::Error),
    /// The component reports that its configuration is wrong.
    #[error("the application is misconfigured: {detail}")]
    Misconfigured {
        /// The component's own message.
        detail: String,
    },
    /// The component failed at its first request.
    #[error("the component failed at its first request, {path}; the lines above say why")]
    Probe {
        /// The probe's path.
        path: String,
    },
    /// The sweep of the component has failed, or it has none.
    #[error("the sweep was answered {status}; the lines above may say why")]
    Sweep {
        /// The status of the response.
        status: u16,
    },
    /// PostgreSQL, or the pooler before it, refuses every connection until an operator changes a setting.
    #[error("PostgreSQL cannot be used: {reason}")]
    Postgres {
        /// What to change.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
}
