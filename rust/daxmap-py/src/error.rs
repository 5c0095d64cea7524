//! The one place where a core error becomes a Python exception.

use daxmap_core::{Error, OpenError};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::error::Error as _;

/// `OSError(errno, message)`: Python picks the subclass, `FileExistsError` and the like, by the errno.
///
/// The pair is passed whole, since pyo3's own conversion from `io::Error` leaves `errno` as None.
///
/// If an exception of the VMM's own code lies behind it, that is its `__cause__`.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    let raised = PyOSError::new_err((error.errno().0, error.to_string()));
    if let Some(cause) = error.source().and_then(|source| source.downcast_ref::<PyErr>()) {
        raised.set_cause(py, Some(cause.clone_ref(py)));
    }
    raised
}

/// A bad value is a `ValueError`, a host that refuses an `OSError`.
pub(crate) fn raise_open(error: OpenError) -> PyErr {
    match error {
        OpenError::Refused { errno, .. } => PyOSError::new_err((errno.0, error.to_string())),
        _ => PyValueError::new_err(error.to_string()),
    }
}
