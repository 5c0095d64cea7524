//! What stands for the file server where there is no Linux: making one says so.

use crate::docs::docstring;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

#[doc = docstring!(_FileServer)]
#[pyclass(frozen, subclass, name = "_FileServer", module = "daxmap._core")]
pub(crate) struct PyFileServer;

#[pymethods]
impl PyFileServer {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Err(PyOSError::new_err((
            libc::ENOTSUP,
            "FileServer needs Linux; elsewhere use DaxDispatcher beside your own server",
        )))
    }
}
