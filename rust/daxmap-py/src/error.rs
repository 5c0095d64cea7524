//! The one place where a core error becomes a Python exception.

use daxmap_core::{Error, OpenError};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// `OSError(errno, message)`: Python picks the subclass, `FileExistsError` and the like, by the errno.
///
/// The pair is passed whole, since pyo3's own conversion from `io::Error` leaves `errno` as None.
pub(crate) fn raise(error: Error) -> PyErr {
    PyOSError::new_err((error.errno(), error.to_string()))
}

/// A bad value is a `ValueError`, a host that refuses an `OSError`.
pub(crate) fn raise_open(error: OpenError) -> PyErr {
    match error {
        OpenError::Refused { errno, .. } => PyOSError::new_err((errno.0, error.to_string())),
        _ => PyValueError::new_err(error.to_string()),
    }
}
