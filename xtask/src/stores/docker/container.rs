//! One container.

use std::{collections::HashMap, process};

use anyhow::{Context, anyhow};
use futures::{StreamExt, TryStreamExt};
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    bollard::{models::PortBinding, query_parameters::LogsOptionsBuilder},
    core::{IntoContainerPort, Mount, client::docker_client_instance},
    runners::AsyncRunner,
};

use super::ports::Ports;
use crate::local_state::LocalState;

/// The label with the process id of a container's supervisor: without that process, the container may be removed.
pub const SUPERVISOR_LABEL: &str = "sugang.supervisor";
/// The label with the id of the checkout whose kept data a container has.
pub const HOME_LABEL: &str = "sugang.home";

/// Name and tag of PostgreSQL's image.
pub const POSTGRES: (&str, &str) = ("postgres", "17");
/// Name and tag of Redis's image.
pub const REDIS: (&str, &str) = ("redis", "7.2");

/// What one container is to be.
pub struct Container<'a> {
    pub image: (&'static str, &'static str),
    /// The folder of the data in the container.
    pub data: &'static str,
    pub port: u16,
    pub host_port: u16,
    pub ports: &'a Ports,
}

impl Container<'_> {
    /// Starts the container and returns it with its `host:port`.
    pub async fn start(
        &self,
        kept: Option<&LocalState>,
        describe: impl FnOnce(ContainerRequest<GenericImage>) -> ContainerRequest<GenericImage>,
    ) -> anyhow::Result<(ContainerAsync<GenericImage>, String)> {
        let (name, tag) = self.image;
        let (port, host_port) = (self.port, self.host_port);
        // This process chooses the port, so that it stays over a restart.
        let bindings = self.ports.publish.iter().map(|address| PortBinding {
            host_ip: Some(address.clone()),
            host_port: Some(host_port.to_string()),
        });
        let bindings = HashMap::from([(format!("{port}/tcp"), Some(bindings.collect()))]);
        let mut request = describe(GenericImage::new(name, tag).into())
            .with_label(SUPERVISOR_LABEL, process::id().to_string())
            .with_mapped_port(host_port, port.tcp())
            .with_host_config_modifier(move |host| host.port_bindings = Some(bindings.clone()));
        if let Some(kept) = kept {
            request = request
                .with_label(HOME_LABEL, &kept.id)
                .with_mount(Mount::volume_mount(volume(name, kept), self.data));
        }
        let container = request
            .start()
            .await
            .with_context(|| format!("cannot start {name}:{tag}"))?;
        let host = while_running(&container, self.ports.reached(host_port)).await?;
        Ok((container, format!("{host}:{host_port}")))
    }
}

/// The name of the volume with the kept data of an image.
pub fn volume(name: &str, kept: &LocalState) -> String {
    format!("sugang-{}-{name}", kept.id)
}

/// Awaits an answer of a container, and fails with the end of its log when the container ends.
pub async fn while_running<T>(
    container: &ContainerAsync<GenericImage>,
    answer: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let engine = docker_client_instance().await?;
    let mut end = std::pin::pin!(engine.wait_container(container.id(), None));
    let outcome = tokio::select! {
        outcome = answer => outcome,
        _ = end.next() => Err(anyhow!("the container ended")),
    };
    if outcome.is_ok() {
        return outcome;
    }
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("10").build();
    let log: Vec<_> = engine.logs(container.id(), Some(options)).try_collect().await?;
    let log: String = log.iter().map(ToString::to_string).collect();
    outcome.with_context(|| format!("the end of the container's log: {}", log.trim()))
}
