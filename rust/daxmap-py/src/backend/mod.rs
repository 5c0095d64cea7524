//! The backends as Python objects.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "absent.rs")]
mod linux;

pub(crate) use linux::{HostWindowBackend, KvmBackend};

use crate::callbacks::{Callbacks, refuse_class};
use crate::docs::docstring;
use crate::error::open_error;
use crate::exit;
use crate::hypervisor::PyHypervisor;
use crate::interrupt::in_destructor;
use crate::own_backend::OwnBackend;
use daxmap_core::{Backend, Claim, FRAMEWORK, OpenError, Stepwise, Window};
use pyo3::exceptions::{PyResourceWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;

#[doc = docstring!(HypervisorBackend)]
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HypervisorBackend {
    hypervisor: Py<PyAny>,
    claim: Claim,
}

#[pymethods]
impl HypervisorBackend {
    #[new]
    fn new(hypervisor: Bound<'_, PyAny>) -> PyResult<Self> {
        let _inside = exit::enter(hypervisor.py())?;
        refuse_class("hypervisor", &hypervisor)?;
        // A missing method is an error here, not at a guest's request.
        Callbacks::of_hypervisor(&hypervisor)
            .map_err(|error| explained(hypervisor.py(), "hypervisor", error, "see daxmap.protocols.Hypervisor"))?;
        Ok(Self { hypervisor: hypervisor.unbind(), claim: Claim::default() })
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    // Its mapper has taken everything away.
    #[pyo3(signature = (*_exception))]
    #[allow(clippy::unused_self)]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {}

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let _inside = exit::enter(py)?;
        Ok(format!("<HypervisorBackend of {}>", self.hypervisor.bind(py).repr()?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.hypervisor)
    }
}

#[doc = docstring!(HvfBackend)]
#[pyclass(frozen, module = "daxmap")]
pub(crate) struct HvfBackend(daxmap_core::HvfBackend);

#[pymethods]
impl HvfBackend {
    #[new]
    #[pyo3(signature = (*, framework = PathBuf::from(FRAMEWORK)))]
    fn new(framework: PathBuf) -> PyResult<Self> {
        daxmap_core::HvfBackend::load(&framework).map(Self).map_err(open_error)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    // Its mapper has taken everything away.
    #[pyo3(signature = (*_exception))]
    #[allow(clippy::unused_self)]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) {}

    #[allow(clippy::unused_self)]
    fn __repr__(&self) -> &'static str {
        "<HvfBackend>"
    }
}

/// What is given to a mapper as its backend.
pub(crate) enum AnyBackend {
    #[cfg(target_os = "linux")]
    HostWindow(Py<HostWindowBackend>),
    #[cfg(target_os = "linux")]
    Kvm(Py<KvmBackend>),
    Hypervisor(Py<HypervisorBackend>, Arc<Callbacks>, PyHypervisor),
    Hvf(Py<HvfBackend>),
    Object(Arc<Callbacks>),
}

impl AnyBackend {
    /// The methods of the VMM's own object, where the backend calls any.
    pub(crate) fn callbacks(&self) -> Option<Arc<Callbacks>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::HostWindow(_) | Self::Kvm(_) => None,
            Self::Hvf(_) => None,
            Self::Hypervisor(_, callbacks, _) | Self::Object(callbacks) => Some(Arc::clone(callbacks)),
        }
    }

    /// Puts the backend to work for one mapper.
    pub(crate) fn attach(self, window: &Window, readonly: bool) -> Result<Box<dyn Backend>, OpenError> {
        match self {
            #[cfg(target_os = "linux")]
            Self::HostWindow(backend) => backend.get().attach(window),
            #[cfg(target_os = "linux")]
            Self::Kvm(backend) => backend.get().attach(window, readonly),
            Self::Hypervisor(backend, _, hypervisor) => {
                let attach = || daxmap_core::HypervisorBackend::over(hypervisor, window, readonly);
                backend.get().claim.attach(|| Ok(Box::new(attach()) as _))
            }
            Self::Hvf(backend) => backend.get().0.attach(window, readonly),
            Self::Object(callbacks) => Ok(Box::new(Stepwise::new(OwnBackend::new(callbacks)))),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for AnyBackend {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        #[cfg(target_os = "linux")]
        if let Ok(backend) = object.cast::<HostWindowBackend>() {
            return Ok(Self::HostWindow(backend.to_owned().unbind()));
        }
        #[cfg(target_os = "linux")]
        if let Ok(backend) = object.cast::<KvmBackend>() {
            return Ok(Self::Kvm(backend.to_owned().unbind()));
        }
        let py = object.py();
        let _inside = exit::enter(py)?;
        if let Ok(backend) = object.cast::<HypervisorBackend>() {
            let callbacks = Arc::new(Callbacks::of_hypervisor(backend.get().hypervisor.bind(py))?);
            let hypervisor = PyHypervisor::new(py, Arc::clone(&callbacks))?;
            return Ok(Self::Hypervisor(backend.to_owned().unbind(), callbacks, hypervisor));
        }
        if let Ok(backend) = object.cast::<HvfBackend>() {
            return Ok(Self::Hvf(backend.to_owned().unbind()));
        }
        if object.is_none() {
            let text =
                "backend: None; take HostWindowBackend(), KvmBackend(vm_fd, slot), or another of daxmap's backends";
            return Err(PyTypeError::new_err(text));
        }
        if object.is_instance_of::<PyInt>() {
            let text = format!("backend: {} is an int; a VM's descriptor goes into KvmBackend(vm_fd, slot)", *object);
            return Err(PyTypeError::new_err(text));
        }
        refuse_class("backend", &object)?;
        let callbacks = Callbacks::of_backend(&object).map_err(|error| {
            let hint = match Callbacks::of_hypervisor(&object) {
                Ok(_) => "it is a hypervisor: give HypervisorBackend(...) of it",
                Err(_) => "take one of daxmap's backends, or see daxmap.protocols.Backend",
            };
            explained(py, "backend", error, hint)
        })?;
        Ok(Self::Object(Arc::new(callbacks)))
    }
}

/// A `TypeError` with the name of the argument before it, and a hint behind.
fn explained(py: Python<'_>, name: &str, error: PyErr, hint: &str) -> PyErr {
    let text = format!("{name}: {}; {hint}", error.value(py));
    if error.is_instance_of::<PyTypeError>(py) { PyTypeError::new_err(text) } else { error }
}

/// Warns the way Python warns of files left open.
pub(crate) fn warn_of_resource(text: &CStr) {
    // None while the interpreter shuts down: there is nobody left to warn.
    let _ = in_destructor(|py| {
        let warned = exit::enter(py).and_then(|_inside| PyErr::warn(py, &py.get_type::<PyResourceWarning>(), text, 1));
        if let Err(error) = warned {
            error.write_unraisable(py, None); // the warning is an error in this program, and a destructor can't raise
        }
    });
}
