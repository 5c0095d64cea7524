//! The backends as Python objects.

use crate::convert::Fd;
use crate::error::{raise, raise_open};
use daxmap_core::{Backend, HostWindow, KvmWindow, OpenError, Window};
use pyo3::exceptions::{PyResourceWarning, PyTypeError};
use pyo3::prelude::*;
use std::ffi::CStr;

/// A window of host addresses that the VMM gives to a memslot of its own.
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HostWindowBackend(HostWindow);

#[pymethods]
impl HostWindowBackend {
    #[new]
    fn new() -> PyResult<Self> {
        HostWindow::new().map(Self).map_err(raise_open)
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.release()).map_err(raise)
    }

    fn __repr__(&self) -> String {
        format!("<HostWindowBackend {}>", self.0)
    }
}

impl Drop for HostWindowBackend {
    fn drop(&mut self) {
        if self.0.holds_addresses() {
            warn_of_resource(c"HostWindowBackend dropped without release(): its addresses stay reserved");
        }
    }
}

/// A window of host addresses and the KVM memslot that shows it.
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct KvmBackend {
    window: KvmWindow,
    slot: u32,
}

#[pymethods]
impl KvmBackend {
    #[new]
    fn new(vm_fd: Fd, slot: u32) -> PyResult<Self> {
        let window = KvmWindow::new(vm_fd.0, slot).map_err(raise_open)?;
        Ok(Self { window, slot })
    }

    fn __repr__(&self) -> String {
        format!("<KvmBackend slot={}>", self.slot)
    }
}

/// What may be given to a mapper as its backend.
pub(crate) enum AnyBackend {
    HostWindow(Py<HostWindowBackend>),
    Kvm(Py<KvmBackend>),
}

impl AnyBackend {
    /// Puts the backend to work for one mapper.
    pub(crate) fn attach(&self, window: &Window) -> Result<Box<dyn Backend>, OpenError> {
        match self {
            Self::HostWindow(backend) => backend.get().0.attach(window),
            Self::Kvm(backend) => backend.get().window.attach(window),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for AnyBackend {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(backend) = object.cast::<HostWindowBackend>() {
            return Ok(Self::HostWindow(backend.to_owned().unbind()));
        }
        if let Ok(backend) = object.cast::<KvmBackend>() {
            return Ok(Self::Kvm(backend.to_owned().unbind()));
        }
        Err(PyTypeError::new_err(format!("{} is not a backend", object.get_type())))
    }
}

/// Warns the way Python warns of files left open.
pub(crate) fn warn_of_resource(text: &CStr) {
    // None while the interpreter shuts down: there is nobody left to warn.
    let _ = Python::try_attach(|py| {
        let pending = PyErr::take(py);
        if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), text, 1) {
            error.write_unraisable(py, None); // the warning is an error in this program, and a destructor can't raise
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}
