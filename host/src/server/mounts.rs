//! Components of files, which have places of their own. The host checks and logs their requests, since they have no
//! settings.

use std::{cmp::Reverse, net::SocketAddr, sync::Arc, time::Instant};

use http::{StatusCode, Uri};
use serde_json::{Value, json};
use sugang_protocol::{ErrorSpec, client_network, host, method_for_log, path};

use super::{bulkhead::Bulkhead, request::RequestMeta};
use crate::{instances::Instances, log, manifest::FileSettings};

/// Requests in flight to each component of files. They wait for no store.
const REQUESTS: usize = 32;

/// A component of files, and which paths it answers.
pub(crate) struct Mounted {
    /// The first segments of its paths, without a slash at the end.
    pub(crate) prefix: String,
    /// Its instances.
    pub(crate) instances: Instances,
}

/// All components of files.
pub(super) struct Mounts {
    /// With the beginnings of their paths, the longest first.
    bulkheads: Vec<(String, Arc<Bulkhead>)>,
    settings: FileSettings,
}

impl Mounts {
    pub(super) fn new(mut mounts: Vec<Mounted>, settings: FileSettings) -> Self {
        mounts.sort_by_key(|mount| Reverse(mount.prefix.len()));
        let bulkheads = mounts.into_iter();
        Self {
            bulkheads: bulkheads
                .map(|mount| (mount.prefix, Arc::new(Bulkhead::new(mount.instances, REQUESTS))))
                .collect(),
            settings,
        }
    }

    /// Finds the places of a request to a canonical path.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Bulkhead>> {
        let mount = self.bulkheads.iter().find(|(prefix, _)| is_below(path, prefix));
        mount.map(|(_, bulkhead)| bulkhead)
    }

    /// Checks the host that a request for a file names, by the rule of the component with the stores.
    ///
    /// # Errors
    /// 400 if it is not allowed.
    pub(super) fn check_host(&self, path: &str, uri: &Uri) -> Result<(), &'static ErrorSpec> {
        let named = uri.authority().map(|authority| authority.as_str());
        match self.find(path).is_none() || named.is_none_or(|named| self.settings.allowed_hosts.allows(named)) {
            true => Ok(()),
            false => Err(&host::HOST_NOT_ALLOWED),
        }
    }

    /// Logs a request for a file. Its path is logged if there is such a file: no client has made it up.
    pub(super) fn log(&self, meta: &RequestMeta, status: StatusCode, client: SocketAddr, begun: Instant) {
        let Some(path) = path::canonical(&meta.path).filter(|path| self.find(path).is_some()) else {
            return;
        };
        if !self.settings.log_requests {
            return;
        }
        let is_there = status.is_success() || status == StatusCode::NOT_MODIFIED;
        let mut fields = json!({
            "method": method_for_log(meta.method.as_str()),
            "path": is_there.then_some(path),
            "status": status.as_u16(),
            "ms": begun.elapsed().as_secs_f64() * 1e3,
            "request_id": meta.ids.own,
            "client_request_id": meta.ids.client,
            "address": client_network(client.ip()),
        });
        if let Value::Object(fields) = &mut fields {
            fields.retain(|_, value| !value.is_null());
        }
        log::write("info", "a file was requested", fields);
    }
}

/// Returns whether a canonical path is `prefix`, or stands below it.
fn is_below(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
