//! `spin:variables/variables@3.0.0`.

use wasmtime::component::Accessor;

use super::{
    HasView, View,
    bindings::spin::variables::variables::{Error, Host, HostWithStore},
};
use crate::manifest::check_name;

impl Host for View<'_> {}

impl<T: Send> HostWithStore<T> for HasView {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> Result<String, Error> {
        check_name(&name).map_err(|error| Error::InvalidName(error.to_string()))?;
        accessor
            .with(|mut instance| instance.get().variables.get(&name).cloned())
            .ok_or_else(|| Error::Undefined(format!("the component has no variable `{name}`")))
    }
}
