//! Pictures of values, drawn by `daxmap.picture`.

use crate::exit;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// What a function of `daxmap.picture` makes of a value.
pub(crate) fn draw<'py>(
    function: &str,
    value: &Bound<'py, PyAny>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let _inside = exit::enter(value.py())?;
    value.py().import("daxmap.picture")?.getattr(function)?.call((value,), options)
}
