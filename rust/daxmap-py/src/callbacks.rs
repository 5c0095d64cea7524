//! Calls into a VMM's own Python objects, and what they return.

use crate::error::{Raised, open_error};
use crate::exit;
use crate::interrupt::{got, ordinary};
use daxmap_core::{Errno, ForkGuard, OpenError, Refusal};
use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyAttributeError, PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyType};
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
    /// The methods of `object`, or a `TypeError` that names the one it lacks.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            map: required(object, "map")?,
            unmap: required(object, "unmap")?,
            protect: method(object, "protect")?,
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
                Ok(returned) => accepted(returned.bind(py)),
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

fn accepted(returned: &Bound<'_, PyAny>) -> Result<(), Refusal> {
    let zero = returned.is_instance_of::<PyInt>() && !returned.is_instance_of::<PyBool>();
    if returned.is_none() || (zero && returned.extract::<i64>().is_ok_and(|number| number == 0)) {
        return Ok(());
    }
    let repr = got(returned.py(), returned.repr());
    let shown = repr.map_or_else(|| "a value without repr".to_owned(), |repr| repr.to_string());
    Err(Refusal::io(format!("a callback returned {shown}, where None or 0 means done")))
}

/// The errno of an `OSError`, if it has one that a caller could act on.
pub(crate) fn errno_of(py: Python<'_>, error: &PyErr) -> Option<i32> {
    let os_error = error.value(py).cast::<PyOSError>().ok()?;
    let errno: i32 = got(py, os_error.getattr("errno"))?.extract().ok()?;
    (1..4096).contains(&errno).then_some(errno)
}

/// A `TypeError` for what gives a coroutine when it is called, which nobody here would await.
pub(crate) fn refuse_coroutine_function(name: &str, callable: &Bound<'_, PyAny>) -> PyResult<()> {
    const CO_COROUTINE: u32 = 0x80; // Include/cpython/code.h, and `inspect`
    let flags = |function: &Bound<'_, PyAny>| {
        function.getattr("__code__").and_then(|code| code.getattr("co_flags")?.extract::<u32>()).unwrap_or(0)
    };
    let called = callable.getattr("__call__").map_or(0, |call| flags(&call));
    if (flags(callable) | called) & CO_COROUTINE == 0 {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("{name} is a coroutine function: it is called, and never awaited")))
}

/// A `TypeError` for a class where an object of it is wanted.
pub(crate) fn refuse_class(name: &str, object: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(class) = object.cast::<PyType>() else { return Ok(()) };
    Err(PyTypeError::new_err(format!("{name}: {class} is a class; an object of it is wanted: {}()", class.name()?)))
}

fn method(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Py<PyAny>>> {
    let found = match object.getattr(name) {
        Ok(found) if found.is_none() => return Ok(None),
        Ok(found) => found,
        Err(error) if error.is_instance_of::<PyAttributeError>(object.py()) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !found.is_callable() {
        return Err(PyTypeError::new_err(format!("{name} of {} is not callable", object.get_type())));
    }
    refuse_coroutine_function(&format!("{name} of {}", object.get_type()), &found)?;
    Ok(Some(found.unbind()))
}

fn required(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Py<PyAny>> {
    method(object, name)?.ok_or_else(|| PyTypeError::new_err(format!("{} has no method {name}", object.get_type())))
}
