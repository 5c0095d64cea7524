//! The backends over host windows, which need what Linux's `mmap` promises.

use super::warn_of_resource;
use crate::argument;
use crate::convert::Fd;
use crate::docs::docstring;
use crate::error::{open_error, os_error};
use daxmap_core::{Backend, OpenError, Window};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

#[doc = docstring!(HostWindowBackend)]
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HostWindowBackend(daxmap_core::HostWindowBackend);

#[pymethods]
impl HostWindowBackend {
    #[new]
    fn new() -> PyResult<Self> {
        daxmap_core::HostWindowBackend::new().map(Self).map_err(open_error)
    }

    #[doc = docstring!(HostWindowBackend.release)]
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.release()).map_err(|error| os_error(py, "", error))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    // A forked child leaves its parent's window alone. An exception that is on its way is not hidden by one of a mapper
    // that it kept from being drained.
    #[pyo3(signature = (kind, *_exception))]
    fn __exit__(&self, py: Python<'_>, kind: &Bound<'_, PyAny>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        if self.0.in_forked_child() || (!kind.is_none() && self.0.is_in_use()) {
            return Ok(());
        }
        self.release(py)
    }

    fn __repr__(&self) -> String {
        format!("<HostWindowBackend {}>", self.0)
    }
}

impl HostWindowBackend {
    pub(super) fn attach(&self, window: &Window) -> Result<Box<dyn Backend>, OpenError> {
        self.0.attach(window)
    }
}

impl Drop for HostWindowBackend {
    fn drop(&mut self) {
        if self.0.is_releasable() {
            warn_of_resource(c"HostWindowBackend dropped without release(): its addresses stay reserved");
        }
    }
}

#[doc = docstring!(KvmBackend)]
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct KvmBackend(daxmap_core::KvmBackend);

#[pymethods]
impl KvmBackend {
    #[new]
    fn new(
        #[pyo3(from_py_with = argument::vm_fd)] vm_fd: Fd,
        #[pyo3(from_py_with = argument::slot)] slot: u32,
    ) -> PyResult<Self> {
        daxmap_core::KvmBackend::new(vm_fd.0, slot).map(Self).map_err(open_error)
    }

    #[doc = docstring!(KvmBackend.start_dirty_log)]
    fn start_dirty_log(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.start_dirty_log()).map_err(|error| os_error(py, "", error))
    }

    #[doc = docstring!(KvmBackend.stop_dirty_log)]
    fn stop_dirty_log(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.stop_dirty_log()).map_err(|error| os_error(py, "", error))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    // Its mapper has taken everything away.
    #[pyo3(signature = (*_exception))]
    #[allow(clippy::unused_self)]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {}

    fn __repr__(&self) -> String {
        format!("<KvmBackend slot={}>", self.0.slot())
    }
}

impl KvmBackend {
    pub(super) fn attach(&self, window: &Window, readonly: bool) -> Result<Box<dyn Backend>, OpenError> {
        self.0.attach(window, readonly)
    }
}
