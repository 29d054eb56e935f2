//! From the component's file to something that can be instantiated.

use std::path::Path;

use anyhow::{Context as _, Result};
use wasmtime::{
    Cache, CacheConfig, Config, Engine,
    component::{Component, Linker},
};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::{cpu_fairness, guest::Guest};
use crate::wit;

/// Compiles the components of one application.
pub(crate) struct Compiler {
    engine: Engine,
}

/// A compiled component, linked with everything that this host provides.
pub(crate) struct CompiledComponent {
    pub(super) engine: Engine,
    pub(super) service: ServicePre<Guest>,
}

impl Compiler {
    /// Makes the engine that all components of an application share.
    ///
    /// # Errors
    /// The machine cannot run it.
    pub(crate) fn new() -> Result<Self> {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        // Without a home folder there is no cache, and every start compiles.
        config.cache(Cache::new(CacheConfig::new()).ok());
        config.epoch_interruption(true);
        let engine = Engine::new(&config)?;
        cpu_fairness::tick(&engine)?;
        Ok(Self { engine })
    }

    /// Compiles a component; wasmtime's cache makes the second time fast.
    ///
    /// # Errors
    /// The file cannot be read, or is not an HTTP component that fits this host.
    pub(crate) fn compile(&self, source: &Path) -> Result<CompiledComponent> {
        let engine = self.engine.clone();
        let wasm = std::fs::read(source)
            .with_context(|| format!("cannot read the component {}: build it first", source.display()))?;
        let component = Component::new(&engine, &wasm)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("{} is not a WebAssembly component", source.display()))?;
        let service = link(&engine, &component)
            .map_err(anyhow::Error::from)
            .with_context(|| {
                format!(
                    "{} does not fit this host: it must be built with spin-sdk 7, for HTTP",
                    source.display()
                )
            })?;
        Ok(CompiledComponent { engine, service })
    }
}

fn link(engine: &Engine, component: &Component) -> wasmtime::Result<ServicePre<Guest>> {
    let mut linker = Linker::<Guest>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    wit::add_to_linker(&mut linker, Guest::spin)?;
    ServicePre::new(linker.instantiate_pre(component)?)
}
