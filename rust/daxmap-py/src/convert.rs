//! Values of Python as numbers and descriptors, refused by name.

use crate::exit;
use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};
use std::os::fd::RawFd;

/// A file descriptor: an int, or anything with `fileno()`. Whether it is open is for `fstat` to say.
#[derive(Clone, Copy)]
pub(crate) struct Fd(pub(crate) RawFd);

impl Fd {
    /// Of an argument with a name. What its `fileno()` raises passes through.
    pub(crate) fn of(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyInt>() {
            return number(name, object).map(Self);
        }
        let _inside = exit::enter(object.py())?;
        let fileno = object.getattr("fileno").map_err(|error| {
            if !error.is_instance_of::<PyAttributeError>(object.py()) {
                return error;
            }
            let is_path = object.is_instance_of::<PyString>() || object.hasattr("__fspath__").unwrap_or(false);
            let hint = if is_path {
                ": open the file first"
            } else if object.is_callable() {
                ": call it"
            } else {
                ""
            };
            let kind = object.get_type();
            PyTypeError::new_err(format!("{name}: a file descriptor is an int or has fileno(), not {kind}{hint}"))
        })?;
        let answer = fileno.call0()?;
        if !answer.is_instance_of::<PyInt>() {
            return Err(PyTypeError::new_err(format!("{name}: fileno() returned {answer}, which is no int")));
        }
        number(name, &answer).map(Self)
    }
}

/// No process has a descriptor that doesn't fit: it is not open, which is for `fstat` to say of -1.
fn number(name: &str, fd: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    fd.extract().or_else(|too_large| {
        let is_64_bit = fd.extract::<u64>().is_ok() || fd.extract::<i64>().is_ok();
        if is_64_bit { Ok(-1) } else { Err(named(name, fd, too_large, i32::MAX.unsigned_abs().into())) }
    })
}

/// `error`, which says why `value` is no number from 0 to `highest`, or of another type, with the name of the argument in
/// its text.
pub(crate) fn named(name: &str, value: &Bound<'_, PyAny>, error: PyErr, highest: u64) -> PyErr {
    let py = value.py();
    if value.is_instance_of::<PyString>() {
        return PyTypeError::new_err(format!(
            "{name}: {} is text; a number is wanted, such as 0x200000",
            shown_text(value)
        ));
    }
    if error.is_instance_of::<PyTypeError>(py) {
        return PyTypeError::new_err(format!("{name}: {}", error.value(py)));
    }
    if !error.is_instance_of::<PyOverflowError>(py) {
        return error;
    }
    let limit = if highest == u64::MAX { "2**64-1".to_owned() } else { highest.to_string() };
    PyOverflowError::new_err(format!("{name}: {} is not in the range 0 to {limit}", shown(value)))
}

/// Text as `repr` shows it.
fn shown_text(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| "this".to_owned(), |text| text.to_string())
}

/// A number in decimal, if it is not so long that Python would refuse to write it.
fn shown(value: &Bound<'_, PyAny>) -> String {
    const LONGEST: u64 = 128;
    let bits = value.call_method0("bit_length").and_then(|bits| bits.extract::<u64>());
    match bits {
        Ok(bits) if bits > LONGEST => format!("a number of {bits} bits"),
        _ => value.str().map_or_else(|_| "this number".to_owned(), |text| text.to_string()),
    }
}
