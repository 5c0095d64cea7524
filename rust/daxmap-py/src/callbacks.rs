//! Calls into a VMM's own Python objects, and what they return.

use crate::error::{Raised, open_error};
use crate::exit;
use crate::interrupt::{got, ordinary};
use daxmap_core::{Errno, ForkGuard, OpenError, Refusal};
use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyAttributeError, PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

/// The methods of a hypervisor or a backend that is a Python object.
///
/// They are called under the mapper's lock. A thread that waits for that lock has released the interpreter, so the call, which
/// needs it, gets it.
pub(crate) struct Callbacks {
    map: Py<PyAny>,
    unmap: Py<PyAny>,
    protect: Option<Py<PyAny>>,
    guard: ForkGuard,
}

/// Which of the methods.
#[derive(Clone, Copy)]
pub(crate) enum Method {
    Map,
    Unmap,
    Protect,
}

impl Callbacks {
    /// The methods of a hypervisor, or a `TypeError` that says which one it lacks, or what that does not take.
    pub(crate) fn of_hypervisor(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::of(
            object,
            [
                &["host_address", "guest_address", "length", "access"],
                &["guest_address", "length"],
                &["guest_address", "length", "access"],
            ],
        )
    }

    /// The same of a whole backend.
    pub(crate) fn of_backend(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::of(
            object,
            [
                &["fd", "file_offset", "window_offset", "length", "writable"],
                &["window_offset", "length"],
                &["fd", "window_offset", "length", "writable"],
            ],
        )
    }

    fn of(object: &Bound<'_, PyAny>, [map, unmap, protect]: [&[&str]; 3]) -> PyResult<Self> {
        Ok(Self {
            map: required(object, "map", map)?,
            unmap: required(object, "unmap", unmap)?,
            protect: method(object, "protect", protect)?,
            guard: ForkGuard::new().map_err(|errno| open_error(OpenError::no_fork_guard(errno)))?,
        })
    }

    pub(crate) fn can_protect(&self) -> bool {
        self.protect.is_some()
    }

    /// Calls a method. None and 0 mean done; any other value is a refusal, and so is an exception, in doubt: the method may
    /// have done its work before it raised. It carries an `OSError`'s errno if `keeps_errno`, else EIO.
    pub(crate) fn call<A>(&self, method: Method, arguments: A, keeps_errno: bool) -> Result<(), Refusal>
    where
        A: for<'py> PyCallArgs<'py>,
    {
        let callable = match method {
            Method::Map => &self.map,
            Method::Unmap => &self.unmap,
            Method::Protect => self.protect.as_ref().unwrap_or(&self.map),
        };
        Python::try_attach(|py| {
            let _inside = got(py, exit::enter(py)).ok_or_else(shutting_down)?;
            self.refuse_in_child()?;
            let result = match callable.call1(py, arguments) {
                Ok(returned) => accepted(method, returned.bind(py)),
                Err(error) => Err(raised(py, error, keeps_errno).in_doubt()),
            };
            self.refuse_in_child().and(result)
        })
        .unwrap_or_else(|| Err(shutting_down()))
    }

    /// In a child that a callback forked, nothing more is called: the VM is the parent's.
    fn refuse_in_child(&self) -> Result<(), Refusal> {
        if self.guard.is_child() { Err(Errno(libc::EPERM).into()) } else { Ok(()) }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.map)?;
        visit.call(&self.unmap)?;
        self.protect.as_ref().map_or(Ok(()), |protect| visit.call(protect))
    }
}

fn raised(py: Python<'_>, error: PyErr, keeps_errno: bool) -> Refusal {
    let Some(error) = ordinary(py, error) else {
        return Refusal::io("a callback was interrupted");
    };
    let errno = keeps_errno.then(|| errno_of(py, &error)).flatten();
    Refusal::new(Errno(errno.unwrap_or(libc::EIO)), Raised(error))
}

fn shutting_down() -> Refusal {
    Refusal::io("the interpreter is shutting down")
}

fn accepted(method: Method, returned: &Bound<'_, PyAny>) -> Result<(), Refusal> {
    let zero = returned.is_instance_of::<PyInt>() && !returned.is_instance_of::<PyBool>();
    if returned.is_none() || (zero && returned.extract::<i64>().is_ok_and(|number| number == 0)) {
        return Ok(());
    }
    let repr = got(returned.py(), returned.repr());
    let shown = repr.map_or_else(|| "a value without repr".to_owned(), |repr| repr.to_string());
    let name = match method {
        Method::Map => "map",
        Method::Unmap => "unmap",
        Method::Protect => "protect",
    };
    Err(Refusal::io(format!("{name}() returned {shown}, where None or 0 means done; raise if it was not")))
}

/// The errno of an `OSError`, if it has one that a caller could act on.
pub(crate) fn errno_of(py: Python<'_>, error: &PyErr) -> Option<i32> {
    let os_error = error.value(py).cast::<PyOSError>().ok()?;
    let errno: i32 = got(py, os_error.getattr("errno"))?.extract().ok()?;
    (1..4096).contains(&errno).then_some(errno)
}

/// A `TypeError` for what can't be called with these arguments, or gives a coroutine, which nobody here would await.
pub(crate) fn check_callable(name: &str, callable: &Bound<'_, PyAny>, arguments: &[&str]) -> PyResult<()> {
    let mut all = vec![PyString::new(callable.py(), name).into_any(), callable.clone()];
    all.extend(arguments.iter().map(|argument| PyString::new(callable.py(), argument).into_any()));
    let check = callable.py().import("daxmap.checks")?.getattr("check_callable")?;
    check.call1(PyTuple::new(callable.py(), all)?).map(drop)
}

/// A `TypeError` for a class where an object of it is wanted.
pub(crate) fn refuse_class(name: &str, object: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(class) = object.cast::<PyType>() else { return Ok(()) };
    Err(PyTypeError::new_err(format!("{name}: {class} is a class; an object of it is wanted: {}(...)", class.name()?)))
}

fn method(object: &Bound<'_, PyAny>, name: &str, arguments: &[&str]) -> PyResult<Option<Py<PyAny>>> {
    let found = match object.getattr(name) {
        Ok(found) if found.is_none() => return Ok(None),
        Ok(found) => found,
        Err(error) if error.is_instance_of::<PyAttributeError>(object.py()) => return Ok(None),
        Err(error) => return Err(error),
    };
    // Not by Display: it would swallow what a handler of signals raises.
    check_callable(&format!("{name} of {}", object.get_type().str()?), &found, arguments)?;
    Ok(Some(found.unbind()))
}

fn required(object: &Bound<'_, PyAny>, name: &str, arguments: &[&str]) -> PyResult<Py<PyAny>> {
    method(object, name, arguments)?
        .ok_or_else(|| PyTypeError::new_err(format!("{} has no method {name}", object.get_type())))
}
