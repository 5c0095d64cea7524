//! Calls into a VMM's own Python objects, and what their answers mean.

use daxmap_core::{Errno, Refusal};
use pyo3::call::PyCallArgs;
use pyo3::exceptions::{PyAttributeError, PyException, PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};
use pyo3::{PyTraverseError, PyVisit};
use std::cell::RefCell;

/// The methods of a hypervisor or a backend that is a Python object.
///
/// They are called under the mapper's lock. Whoever waits for that lock has released the interpreter, so the call, which
/// needs it, gets it.
pub(crate) struct Callbacks {
    map: Py<PyAny>,
    unmap: Py<PyAny>,
    protect: Option<Py<PyAny>>,
}

thread_local! {
    /// A `KeyboardInterrupt`, `SystemExit` and the like, that a callback on this thread raised: it goes on its way once
    /// the mapper is done.
    static PENDING: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Makes a call of a mapper, and returns what its callbacks left to raise beside its answer. What an outer call on this
/// thread has to raise stays that call's: a callback, or whoever handles a log record, may use a mapper too.
pub(crate) fn with_pending<T>(call: impl FnOnce() -> T) -> (T, Option<PyErr>) {
    let outer = PENDING.take();
    let answer = call();
    (answer, PENDING.replace(outer))
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
        Python::try_attach(|py| match callable.call1(py, arguments) {
            Ok(returned) => accepted(returned.bind(py)),
            Err(error) => Err(raised(py, error, keeps_errno).in_doubt()),
        })
        .unwrap_or_else(|| Err(Refusal::io("the interpreter is shutting down")))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.map)?;
        visit.call(&self.unmap)?;
        self.protect.as_ref().map_or(Ok(()), |protect| visit.call(protect))
    }
}

fn raised(py: Python<'_>, error: PyErr, keeps_errno: bool) -> Refusal {
    let Some(error) = keep_if_urgent(py, error) else {
        return Refusal::io("a callback was interrupted");
    };
    let errno = keeps_errno.then(|| errno_of(py, &error)).flatten();
    Refusal::new(Errno(errno.unwrap_or(libc::EIO)), error)
}

/// Keeps what is no `Exception` for later, the first of several; gives back what is.
fn keep_if_urgent(py: Python<'_>, error: PyErr) -> Option<PyErr> {
    if error.is_instance_of::<PyException>(py) {
        return Some(error);
    }
    PENDING.with_borrow_mut(|pending| {
        pending.get_or_insert(error);
    });
    None
}

fn accepted(answer: &Bound<'_, PyAny>) -> Result<(), Refusal> {
    let zero = answer.is_instance_of::<PyInt>() && !answer.is_instance_of::<PyBool>();
    if answer.is_none() || (zero && answer.extract::<i64>().is_ok_and(|number| number == 0)) {
        return Ok(());
    }
    let shown = answer.repr().map_or_else(|_| "a value without repr".to_owned(), |repr| repr.to_string());
    Err(Refusal::io(format!("a callback returned {shown}, where None or 0 means done")))
}

/// The errno of an `OSError`, if it has one that a caller could act on.
pub(crate) fn errno_of(py: Python<'_>, error: &PyErr) -> Option<i32> {
    let os_error = error.value(py).cast::<PyOSError>().ok()?;
    let errno: i32 = os_error.getattr("errno").ok()?.extract().ok()?;
    (1..4096).contains(&errno).then_some(errno)
}

fn method(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Py<PyAny>>> {
    let found = match object.getattr(name) {
        Ok(found) if found.is_none() => return Ok(None),
        Ok(found) => found,
        Err(error) if error.is_instance_of::<PyAttributeError>(object.py()) => return Ok(None),
        Err(error) => return Err(error),
    };
    if found.is_callable() {
        return Ok(Some(found.unbind()));
    }
    Err(PyTypeError::new_err(format!("{name} of {} is not callable", object.get_type())))
}

fn required(object: &Bound<'_, PyAny>, name: &str) -> PyResult<Py<PyAny>> {
    method(object, name)?.ok_or_else(|| PyTypeError::new_err(format!("{} has no method {name}", object.get_type())))
}
