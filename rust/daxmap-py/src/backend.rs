//! The backends as Python objects.

use crate::callbacks::Callbacks;
use crate::convert::Fd;
use crate::error::{raise, raise_open};
use crate::hypervisor::{PyBackend, PyHypervisor};
use daxmap_core::{Backend, HostWindow, KvmWindow, OpenError, Window};
use pyo3::exceptions::PyResourceWarning;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        py.detach(|| self.0.release()).map_err(|error| raise(py, error))
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

/// A hypervisor that is a Python object.
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HypervisorBackend {
    hypervisor: Py<PyAny>,
    used: AtomicBool,
}

#[pymethods]
impl HypervisorBackend {
    #[new]
    fn new(hypervisor: Bound<'_, PyAny>) -> PyResult<Self> {
        Callbacks::of(&hypervisor)?; // whoever forgot a method learns it here, not from a guest's request
        Ok(Self { hypervisor: hypervisor.unbind(), used: AtomicBool::new(false) })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<HypervisorBackend of {}>", self.hypervisor.bind(py).repr()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.hypervisor)
    }
}

/// What is given to a mapper as its backend.
pub(crate) enum AnyBackend {
    HostWindow(Py<HostWindowBackend>),
    Kvm(Py<KvmBackend>),
    Hypervisor(Py<HypervisorBackend>, Arc<Callbacks>, PyHypervisor),
    Object(Arc<Callbacks>),
}

impl AnyBackend {
    /// The methods of the VMM's own object, where the backend calls any.
    pub(crate) fn callbacks(&self) -> Option<Arc<Callbacks>> {
        match self {
            Self::HostWindow(_) | Self::Kvm(_) => None,
            Self::Hypervisor(_, callbacks, _) | Self::Object(callbacks) => Some(Arc::clone(callbacks)),
        }
    }

    /// Puts the backend to work for one mapper.
    pub(crate) fn attach(self, window: &Window, readonly: bool) -> Result<Box<dyn Backend>, OpenError> {
        match self {
            Self::HostWindow(backend) => backend.get().0.attach(window),
            Self::Kvm(backend) => backend.get().window.attach(window),
            Self::Hypervisor(backend, _, hypervisor) => {
                if backend.get().used.swap(true, Ordering::Relaxed) {
                    return Err(OpenError::Invalid("the backend belongs to a mapper already".to_owned()));
                }
                Ok(Box::new(daxmap_core::HypervisorBackend::new(hypervisor, window, readonly)))
            }
            Self::Object(callbacks) => Ok(Box::new(PyBackend(callbacks))),
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
        if let Ok(backend) = object.cast::<HypervisorBackend>() {
            let py = object.py();
            let callbacks = Arc::new(Callbacks::of(backend.get().hypervisor.bind(py))?);
            let hypervisor = PyHypervisor::new(py, Arc::clone(&callbacks))?;
            return Ok(Self::Hypervisor(backend.to_owned().unbind(), callbacks, hypervisor));
        }
        Callbacks::of(&object).map(|callbacks| Self::Object(Arc::new(callbacks)))
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
