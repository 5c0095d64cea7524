//! Arguments by name: what one of them can't be is refused with its name in the text of the error, where `str()` of the
//! error shows it. (pyo3 puts it into a note, which only a traceback shows.)

use crate::convert::Fd;
use crate::exit;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

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

descriptors!(fd, file, vm_fd);

/// A share's tag mostly.
pub(crate) fn name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    value.extract().map_err(|_| PyTypeError::new_err(format!("name: {} is not a str", value.get_type())))
}

/// None, or a number.
pub(crate) fn max_mappings(value: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    value.extract().map_err(|error| named("max_mappings", value, error, u64::MAX))
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

/// An entry of a batch of removals: a mapping, or a pair of offset and length.
pub(crate) fn range(index: usize, entry: &Bound<'_, PyAny>) -> PyResult<(u64, u64)> {
    if let Ok(mapping) = entry.cast::<crate::values::MappingInfo>() {
        return Ok(mapping.get().range());
    }
    let wrong = || {
        let kind = entry.get_type();
        PyTypeError::new_err(format!("mappings[{index}]: {kind} is neither (window_offset, length) nor a MappingInfo"))
    };
    let (offset, length): (Bound<'_, PyAny>, Bound<'_, PyAny>) = entry.extract().map_err(|_| wrong())?;
    let number = |name: &str, value: &Bound<'_, PyAny>| {
        if !value.is_instance_of::<PyInt>() && !value.hasattr("__index__")? {
            return Err(wrong());
        }
        let name = format!("mappings[{index}].{name}");
        value.extract().map_err(|error| named(&name, value, error, u64::MAX))
    };
    Ok((number("window_offset", &offset)?, number("length", &length)?))
}
