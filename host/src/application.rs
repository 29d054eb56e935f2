//! The application: a manifest and its compiled components.

use std::{path::Path, sync::Arc};

use anyhow::Result;

use crate::{
    error::StartError,
    instances::{CompiledComponent, Compiler, Instances},
    manifest::{self, HostSettings, Manifest},
    outbound::Client,
    server::{Mounted, Server},
    settings::Settings,
    stores::{AllowedHosts, StoreUrls, Stores},
};

/// A manifest and its compiled components. A clone is the same application.
#[derive(Clone)]
pub struct Application {
    manifest: Arc<Manifest>,
    component: Arc<CompiledComponent>,
    /// In the order of the manifest's mounts.
    mounted: Arc<[Arc<CompiledComponent>]>,
}

impl Application {
    /// Reads the manifest and compiles its components; wasmtime's cache makes the second time fast.
    ///
    /// # Errors
    /// The manifest or a component cannot be read, needs something that this host does not have, or is not an HTTP
    /// component.
    pub async fn load(manifest: &Path) -> Result<Self> {
        let manifest = Manifest::read(manifest)?;
        tokio::task::spawn_blocking(|| {
            let compiler = Compiler::new()?;
            let mounts = manifest.mounts.iter();
            Ok(Self {
                component: Arc::new(compiler.compile(&manifest.component.source)?),
                mounted: mounts
                    .map(|mount| Ok(Arc::new(compiler.compile(&mount.source)?)))
                    .collect::<Result<_>>()?,
                manifest: Arc::new(manifest),
            })
        })
        .await?
    }

    /// Starts a server: gives the variables their values, requests the probe, and listens. Returns once it listens.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn serve(&self, settings: Settings) -> Result<Server, StartError> {
        let Prepared {
            instances,
            stores,
            urls,
            host,
        } = self.prepare(&settings)?;
        let mounts = self.manifest.mounts.iter().zip(self.mounted.iter());
        let mounts = mounts.map(|(mount, component)| Mounted {
            prefix: mount.prefix.clone(),
            instances: instances.of_files(component.clone(), mount.environment.clone()),
        });
        let mounts = mounts.collect();
        let started = Server::start(instances, mounts, stores.clone(), host, settings);
        let (server, ()) = tokio::join!(started, stores.report(&urls));
        server
    }

    /// Requests the sweep of the component until nothing more is due, without listening. Returns what each has answered.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn sweep(&self, settings: Settings) -> Result<Vec<String>, StartError> {
        let prepared = self.prepare(&settings)?;
        Server::sweep(prepared.instances, prepared.stores, prepared.host, settings).await
    }

    fn prepare(&self, settings: &Settings) -> Result<Prepared, StartError> {
        let resolved = manifest::resolve(&self.manifest, settings)?;
        let allowed = AllowedHosts::parse(&resolved.allowed_outbound_hosts).map_err(StartError::OutboundHosts)?;
        let urls = StoreUrls::read(&resolved.variables)?;
        let allowed = Arc::new(allowed);
        let outbound = Arc::new(Client::new(allowed.clone(), &settings.limits.outbound)?);
        let stores = Arc::new(Stores::new(allowed, &settings.limits));
        stores.prepare(&urls)?;
        let instances = Instances::new(
            self.component.clone(),
            self.manifest.component.environment.clone(),
            resolved.variables,
            stores.clone(),
            outbound,
            settings.limits.clone(),
        );
        Ok(Prepared {
            instances,
            stores,
            urls,
            host: resolved.host,
        })
    }
}

/// What serves requests, once the variables have their values.
struct Prepared {
    instances: Instances,
    stores: Arc<Stores>,
    urls: StoreUrls,
    host: HostSettings,
}
