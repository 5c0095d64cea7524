//! Arguments by name: what one of them can't be is refused with its name in the text of the error, where `str()` of the
//! error shows it. (pyo3 puts it into a note, which only a traceback shows.)

use crate::convert::{Fd, named};
use crate::exit;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A conversion for each name, as `#[pyo3(from_py_with = ...)]` wants it, since that isn't told the argument's name.
macro_rules! numbers {
    ($($name:ident: $kind:ty),+ $(,)?) => {
        $(pub(crate) fn $name(value: &Bound<'_, PyAny>) -> PyResult<$kind> {
            value.extract().map_err(|error| named(stringify!($name), value, error, <$kind>::MAX.into()))
        })+
    };
}

/// The same for switches: True and False, and nothing else.
macro_rules! switches {
    ($($name:ident),+ $(,)?) => {
        $(pub(crate) fn $name(value: &Bound<'_, PyAny>) -> PyResult<bool> {
            value.extract().map_err(|_| {
                let name = stringify!($name);
                PyTypeError::new_err(format!("{name}: {} is not a bool: True or False", value.get_type()))
            })
        })+
    };
}

switches!(prefault, readonly, replace, writable);

numbers!(
    base: u64,
    dev: u64,
    file_offset: u64,
    guest_address: u64,
    ino: u64,
    length: u64,
    slot: u32,
    window_offset: u64,
);

/// A size in bytes, or text such as "128MiB".
pub(crate) fn size(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    if value.is_instance_of::<PyString>() {
        let _inside = exit::enter(value.py())?;
        return value.py().import("daxmap.sizes")?.getattr("size_in_bytes")?.call1(("size", value))?.extract();
    }
    value.extract().map_err(|error| named("size", value, error, u64::MAX))
}

/// A file descriptor: see [`Fd`].
macro_rules! descriptors {
    ($($name:ident),+ $(,)?) => {
        $(pub(crate) fn $name(value: &Bound<'_, PyAny>) -> PyResult<Fd> {
            Fd::of(stringify!($name), value)
        })+
    };
}

descriptors!(fd, file, path_fd, vm_fd);

/// A share's tag mostly.
pub(crate) fn name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    value.extract().map_err(|_| PyTypeError::new_err(format!("name: {} is not a str", value.get_type())))
}

/// None, or a number of columns.
pub(crate) fn width(value: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
    value.extract().map_err(|error| named("width", value, error, u32::MAX.into()))
}

/// None, or a number.
pub(crate) fn max_mappings(value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    value.extract().map_err(|error| named("max_mappings", value, error, u64::MAX))
}
