//! The one place where a core error becomes a Python exception.

use crate::exit;
use crate::interrupt::got;
use daxmap_core::{Error, OpenError};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::error::Error as _;
use std::fmt;

/// `OSError(errno, message)`: Python picks the subclass, `FileExistsError` and the like, by the errno.
///
/// The pair is passed whole, since pyo3's own conversion from `io::Error` leaves `errno` as None.
///
/// The text begins with `label`. If an exception of the VMM's own code lies behind it, that is its `__cause__`.
pub(crate) fn os_error(py: Python<'_>, label: &str, error: Error) -> PyErr {
    let raised = PyOSError::new_err((error.errno().0, format!("{label}{error}")));
    if let Some(cause) = error.source().and_then(|source| source.downcast_ref::<Raised>()) {
        raised.set_cause(py, Some(cause.0.clone_ref(py)));
    }
    raised
}

/// The name of an errno, such as `EEXIST`, where Python knows one.
pub(crate) fn errno_name(py: Python<'_>, errno: i32) -> Option<String> {
    if errno == libc::EDEADLK {
        return Some("EDEADLK".to_owned()); // of the two that Linux has for it, Python names the other
    }
    let names = got(py, py.import("errno").and_then(|module| module.getattr("errorcode")))?;
    got(py, names.get_item(errno).and_then(|name| name.extract()))
}

/// A bad value is a `ValueError`, a host that refuses an `OSError`.
pub(crate) fn open_error(error: OpenError) -> PyErr {
    match error {
        OpenError::Refused { errno, .. } => PyOSError::new_err((errno.0, error.to_string())),
        _ => PyValueError::new_err(error.to_string()),
    }
}

/// An exception of the VMM's own code, as what lies behind an error of the core. Its text, which that code may make, is
/// made when it is wanted.
#[derive(Debug)]
pub(crate) struct Raised(pub(crate) PyErr);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Python::try_attach(|py| {
            let value = self.0.value(py);
            let kind = value.get_type();
            let kind = got(py, kind.qualname())?.to_string_lossy().into_owned();
            let text = got(py, exit::enter(py).and_then(|_inside| value.str()));
            let text = text.as_ref().map_or("<exception str() failed>".into(), |text| text.to_string_lossy());
            Some(format!("{kind}: {text}"))
        });
        f.write_str(text.flatten().as_deref().unwrap_or("an exception"))
    }
}

impl std::error::Error for Raised {}
