//! The Python face of `daxmap-core`: argument conversion, the interpreter lock, and nothing else.
#![deny(unsafe_code)]
// Arguments of methods that Python calls arrive by value.
#![allow(clippy::needless_pass_by_value)]
// Docstrings are written for Python.
#![allow(clippy::doc_markdown)]

mod argument;
mod backend;
mod call;
mod callbacks;
mod convert;
#[cfg(target_os = "linux")]
mod device;
#[cfg(not(target_os = "linux"))]
#[path = "device_absent.rs"]
mod device;
mod dispatcher;
mod docs;
mod error;
mod exit;
#[cfg(target_os = "linux")]
mod file_server;
#[cfg(not(target_os = "linux"))]
#[path = "file_server_absent.rs"]
mod file_server;
#[cfg(target_os = "linux")]
mod guest_buffer;
mod hypervisor;
mod interpreter;
mod interrupt;
mod loan;
mod logging;
mod mapper;
mod message;
mod own_backend;
mod picture;
mod reopen;
mod session;
mod values;

use pyo3::prelude::*;

/// Private extension module: import from `daxmap`.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::backend::{HostWindowBackend, HvfBackend, HypervisorBackend, KvmBackend};
    #[pymodule_export]
    use crate::device::PyDevice;
    #[pymodule_export]
    use crate::dispatcher::Dispatcher;
    #[pymodule_export]
    use crate::exit::{refuse_other_threads, threads_inside};
    #[pymodule_export]
    use crate::file_server::PyFileServer;
    #[pymodule_export]
    use crate::mapper::DaxMapper;
    #[pymodule_export]
    use crate::reopen::reopen;
    #[pymodule_export]
    use crate::values::{DaxStats, MappingInfo, RemoveResult};
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::interpreter::refuse_all_but_the_first(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        // Assigned once more, so that Python makes it the type's finalizer (PEP 442).
        let mapper = module.py().get_type::<DaxMapper>();
        mapper.setattr("__del__", mapper.getattr("__del__")?)?;
        crate::logging::install();
        Ok(())
    }
}
