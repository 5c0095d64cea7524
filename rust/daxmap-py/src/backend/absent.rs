//! What stands for the Linux-only backends elsewhere: the names are there, and making one says why it can't be had.

use crate::convert::Fd;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// A window of host addresses that the VMM gives to a memslot of its own: on Linux only.
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HostWindowBackend;

#[pymethods]
impl HostWindowBackend {
    #[new]
    fn new() -> PyResult<Self> {
        Err(needs_linux("HostWindowBackend"))
    }

    #[allow(clippy::unused_self)]
    fn release(&self) {}
}

/// A window of host addresses and the KVM memslot that shows it: on Linux only.
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct KvmBackend;

#[pymethods]
impl KvmBackend {
    #[new]
    fn new(vm_fd: Fd, slot: u32) -> PyResult<Self> {
        let _ = (vm_fd.0, slot);
        Err(needs_linux("KvmBackend"))
    }
}

fn needs_linux(name: &str) -> PyErr {
    PyOSError::new_err((libc::ENOTSUP, format!("{name} needs Linux; on macOS use HvfBackend")))
}
