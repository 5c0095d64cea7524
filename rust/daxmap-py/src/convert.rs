//! Arguments that Python programs write in more than one way.

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use std::os::fd::RawFd;

/// A file descriptor: an int, or anything with `fileno()`. Whether it is open is for `fstat` to say.
pub(crate) struct Fd(pub(crate) RawFd);

impl<'a, 'py> FromPyObject<'a, 'py> for Fd {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyInt>() {
            return object.extract().map(Self);
        }
        let fileno = object.getattr("fileno").map_err(|error| {
            if !error.is_instance_of::<PyAttributeError>(object.py()) {
                return error;
            }
            let kind = object.get_type();
            PyTypeError::new_err(format!("a file descriptor is an int or has fileno(), not {kind}"))
        })?;
        let number = fileno.call0()?;
        match number.cast::<PyInt>() {
            Ok(number) => number.extract().map(Self),
            Err(_) => Err(PyTypeError::new_err(format!("fileno() returned {number}, which is no int"))),
        }
    }
}
