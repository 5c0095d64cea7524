//! One interpreter a process: types, the logger and what is known of the exit are kept once, and are of that interpreter.
//!
//! `CPython` itself refuses the import where an interpreter has a lock of its own, from 3.12 on. It lets those pass that
//! share theirs, and all of 3.11's.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The module `sys` of the first interpreter, which no other has. It is never let go of, so that no other gets its address.
static FIRST: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// An `ImportError`, unless this interpreter is the first that imports the extension.
pub(crate) fn refuse_all_but_the_first(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    if FIRST.get_or_init(py, || sys.clone().unbind()).is(&sys) {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "another interpreter of this process has imported daxmap: use it there, or start a process for this one",
    ))
}
