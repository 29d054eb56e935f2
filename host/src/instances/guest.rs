//! The state of one instance.

use std::{collections::HashMap, sync::Arc};

use sugang_protocol::request_id;
use tokio_util::task::task_tracker::TaskTrackerToken;
use wasmtime::{StoreLimits, StoreLimitsBuilder, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{outgoing::Outgoing, output::Output};
use crate::{outbound::Client, stores::Stores, wit};

/// The state of one instance: what the interfaces of the component work on.
pub(crate) struct Guest {
    stores: Arc<Stores>,
    variables: Arc<HashMap<String, String>>,
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    pub(super) limits: StoreLimits,
    _alive: TaskTrackerToken,
}

impl Guest {
    /// Makes the state of an instance with at most `memory` bytes of linear memory, counted by `alive`.
    pub(super) fn new(
        stores: Arc<Stores>,
        outbound: Option<Arc<Client>>,
        variables: Arc<HashMap<String, String>>,
        environment: &[(String, String)],
        memory: usize,
        alive: TaskTrackerToken,
    ) -> Self {
        Self {
            stores,
            variables,
            table: ResourceTable::new(),
            wasi: WasiCtxBuilder::new()
                .envs(environment)
                .env(request_id::HOST_VARIABLE, "1")
                .stdout(Output::default())
                .stderr(Output::default())
                .build(),
            http: WasiHttpCtx::new(),
            outgoing: Outgoing(outbound),
            limits: StoreLimitsBuilder::new().memory_size(memory).build(),
            _alive: alive,
        }
    }

    /// The part that Spin's interfaces use.
    pub(super) fn spin(&mut self) -> wit::View<'_> {
        wit::View {
            stores: &self.stores,
            variables: &self.variables,
            table: &mut self.table,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outgoing,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}
