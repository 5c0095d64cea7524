//! What stands for the device where there is no Linux: making one says so.

use crate::docs::docstring;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

#[doc = docstring!(_Device)]
#[pyclass(frozen, name = "_Device", module = "daxmap._core")]
pub(crate) struct PyDevice;

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords))]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Err(PyOSError::new_err((libc::ENOTSUP, "a vhost-user device needs Linux")))
    }
}
