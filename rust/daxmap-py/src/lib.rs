//! The Python face of `daxmap-core`: argument conversion, the interpreter lock, and nothing else.
#![forbid(unsafe_code)]
// Arguments of methods that Python calls arrive by value.
#![allow(clippy::needless_pass_by_value)]

mod backend;
mod convert;
mod dispatcher;
mod error;
mod logging;
mod mapper;
mod message;
mod values;

use pyo3::prelude::*;

/// Private extension module: import from `daxmap`.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::backend::{HostWindowBackend, KvmBackend};
    #[pymodule_export]
    use crate::dispatcher::Dispatcher;
    #[pymodule_export]
    use crate::mapper::DaxMapper;
    #[pymodule_export]
    use crate::values::{DaxStats, MappingInfo, RemoveResult};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        crate::logging::install(module.py())
    }
}
