//! The backends over host windows, which need what Linux's `mmap` promises.

use super::warn_of_resource;
use crate::convert::Fd;
use crate::error::{open_error, os_error};
use daxmap_core::{Backend, OpenError, Window};
use pyo3::prelude::*;

/// A window of host addresses that the VMM gives to a memslot of its own.
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HostWindowBackend(daxmap_core::HostWindowBackend);

#[pymethods]
impl HostWindowBackend {
    #[new]
    fn new() -> PyResult<Self> {
        daxmap_core::HostWindowBackend::new().map(Self).map_err(open_error)
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.release()).map_err(|error| os_error(py, "", error))
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

/// A window of host addresses and the KVM memslot that shows it.
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct KvmBackend(daxmap_core::KvmBackend);

#[pymethods]
impl KvmBackend {
    #[new]
    fn new(vm_fd: Fd, slot: u32) -> PyResult<Self> {
        daxmap_core::KvmBackend::new(vm_fd.0, slot).map(Self).map_err(open_error)
    }

    fn __repr__(&self) -> String {
        format!("<KvmBackend slot={}>", self.0.slot())
    }
}

impl KvmBackend {
    pub(super) fn attach(&self, window: &Window) -> Result<Box<dyn Backend>, OpenError> {
        self.0.attach(window)
    }
}
