//! The Python face of `daxmap-core`: argument conversion, the interpreter lock, and nothing else.
#![forbid(unsafe_code)]
// Arguments of methods that Python calls arrive by value.
#![allow(clippy::needless_pass_by_value)]

mod backend;
mod callbacks;
mod convert;
mod dispatcher;
mod error;
mod exit;
mod hypervisor;
mod interrupt;
mod logging;
mod mapper;
mod message;
mod own_backend;
mod values;

use pyo3::prelude::*;

/// Private extension module: import from `daxmap`.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::backend::{HostWindowBackend, HvfBackend, HypervisorBackend, KvmBackend};
    #[pymodule_export]
    use crate::dispatcher::Dispatcher;
    #[pymodule_export]
    use crate::exit::{refuse_other_threads, threads_inside};
    #[pymodule_export]
    use crate::mapper::DaxMapper;
    #[pymodule_export]
    use crate::values::{DaxStats, MappingInfo, RemoveResult};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        // Assigned once more, so that Python makes it the type's finalizer (PEP 442).
        let mapper = module.py().get_type::<DaxMapper>();
        mapper.setattr("__del__", mapper.getattr("__del__")?)?;
        crate::logging::install(module.py())
    }
}
