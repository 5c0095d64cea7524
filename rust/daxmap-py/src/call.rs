//! Calls of a mapper from Python: with the interpreter released, since the mapper's lock is only ever waited for without it.

use crate::error::os_error;
use crate::interrupt::raised_after;
use crate::logging::refresh_level;
use daxmap_core::{Error, Mapper};
use pyo3::prelude::*;

/// Makes `call`. The outer error is no outcome of the call: a `KeyboardInterrupt`, say, that came up in a callback or in a
/// handler of log records.
pub(crate) fn call<T: Send>(
    py: Python<'_>,
    mapper: &Mapper,
    call: impl Send + FnOnce(&Mapper) -> Result<T, Error>,
) -> PyResult<Result<T, Error>> {
    raised_after(|| {
        refresh_level(py);
        Ok(py.detach(|| call(mapper)))
    })
}

/// The same, where any error is an exception.
pub(crate) fn raising<T: Send>(
    py: Python<'_>,
    mapper: &Mapper,
    action: impl Send + FnOnce(&Mapper) -> Result<T, Error>,
) -> PyResult<T> {
    call(py, mapper, action)?.or_else(|error| raised_after(|| Err(os_error(py, mapper.label(), error))))
}
