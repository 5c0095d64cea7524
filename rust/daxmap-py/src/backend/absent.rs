//! What stands for the Linux-only backends elsewhere: the names are there, and making one says why it can't be had.

use crate::argument;
use crate::convert::Fd;
use crate::docs::docstring;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

#[doc = docstring!(HostWindowBackend)]
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HostWindowBackend;

#[pymethods]
impl HostWindowBackend {
    #[new]
    fn new() -> PyResult<Self> {
        Err(needs_linux("HostWindowBackend"))
    }

    #[doc = docstring!(HostWindowBackend.release)]
    #[allow(clippy::unused_self)]
    fn release(&self) {}

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    #[allow(clippy::unused_self)]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {}
}

#[doc = docstring!(KvmBackend)]
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct KvmBackend;

#[pymethods]
impl KvmBackend {
    #[new]
    fn new(
        #[pyo3(from_py_with = argument::vm_fd)] vm_fd: Fd,
        #[pyo3(from_py_with = argument::slot)] slot: u32,
    ) -> PyResult<Self> {
        let _ = (vm_fd.0, slot);
        Err(needs_linux("KvmBackend"))
    }

    #[doc = docstring!(KvmBackend.start_dirty_log)]
    #[allow(clippy::unused_self)]
    fn start_dirty_log(&self) {}

    #[doc = docstring!(KvmBackend.stop_dirty_log)]
    #[allow(clippy::unused_self)]
    fn stop_dirty_log(&self) {}

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    #[allow(clippy::unused_self)]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {}
}

fn needs_linux(name: &str) -> PyErr {
    PyOSError::new_err((libc::ENOTSUP, format!("{name} needs Linux; on macOS use HvfBackend")))
}
