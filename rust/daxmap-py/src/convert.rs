//! Arguments that Python programs write in more than one way.

use crate::argument::named;
use crate::exit;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};
use std::os::fd::RawFd;

/// A file descriptor: an int, or anything with `fileno()`. Whether it is open is for `fstat` to say.
pub(crate) struct Fd(pub(crate) RawFd);

impl<'a, 'py> FromPyObject<'a, 'py> for Fd {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyInt>() {
            return number(object).map(Self);
        }
        let _inside = exit::enter(object.py())?;
        let fileno = object.getattr("fileno").map_err(|error| {
            if !error.is_instance_of::<PyAttributeError>(object.py()) {
                return error;
            }
            let kind = object.get_type();
            let hint = if object.is_instance_of::<PyString>() { ": open the file first" } else { "" };
            PyTypeError::new_err(format!("a file descriptor is an int or has fileno(), not {kind}{hint}"))
        })?;
        let answer = fileno.call0()?;
        match answer.cast::<PyInt>() {
            Ok(fd) => number(fd.as_borrowed().as_any().as_borrowed()).map(Self),
            Err(_) => Err(PyTypeError::new_err(format!("fileno() returned {answer}, which is no int"))),
        }
    }
}

/// No process has a descriptor that doesn't fit: it is not open, which is for `fstat` to say of -1.
fn number(fd: Borrowed<'_, '_, PyAny>) -> PyResult<RawFd> {
    fd.extract().or_else(|too_large| {
        let is_64_bit = fd.extract::<u64>().is_ok() || fd.extract::<i64>().is_ok();
        if is_64_bit { Ok(-1) } else { Err(named("fd", &fd, too_large, i32::MAX.unsigned_abs().into())) }
    })
}
