//! Plain values that operations return.

use crate::argument;
use crate::convert::named;
use crate::docs::docstring;
use crate::error::errno_name;
use crate::picture;
use daxmap_core::{BatchResult, Mapping, Stats};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::collections::BTreeMap;

#[doc = docstring!(MappingInfo)]
#[pyclass(frozen, eq, hash, module = "daxmap")]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MappingInfo {
    #[doc = docstring!(MappingInfo.window_offset)]
    #[pyo3(get)]
    window_offset: u64,
    #[doc = docstring!(MappingInfo.length)]
    #[pyo3(get)]
    length: u64,
    #[doc = docstring!(MappingInfo.file_offset)]
    #[pyo3(get)]
    file_offset: u64,
    #[doc = docstring!(MappingInfo.writable)]
    #[pyo3(get)]
    writable: bool,
    #[doc = docstring!(MappingInfo.dev)]
    #[pyo3(get)]
    dev: u64,
    #[doc = docstring!(MappingInfo.ino)]
    #[pyo3(get)]
    ino: u64,
}

impl From<Mapping> for MappingInfo {
    fn from(mapping: Mapping) -> Self {
        Self {
            window_offset: mapping.span.start().0,
            length: mapping.span.length(),
            file_offset: mapping.file_offset.0,
            writable: mapping.writable,
            dev: mapping.file.dev,
            ino: mapping.file.ino,
        }
    }
}

#[pymethods]
impl MappingInfo {
    #[new]
    fn new(
        #[pyo3(from_py_with = argument::window_offset)] window_offset: u64,
        #[pyo3(from_py_with = argument::length)] length: u64,
        #[pyo3(from_py_with = argument::file_offset)] file_offset: u64,
        #[pyo3(from_py_with = argument::writable)] writable: bool,
        #[pyo3(from_py_with = argument::dev)] dev: u64,
        #[pyo3(from_py_with = argument::ino)] ino: u64,
    ) -> Self {
        Self { window_offset, length, file_offset, writable, dev, ino }
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Py<PyTuple>> {
        let names = ["window_offset", "length", "file_offset", "writable", "dev", "ino"];
        Ok(PyTuple::new(py, names)?.unbind())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let Self { window_offset, length, file_offset, writable, dev, ino } = *slf.get();
        let arguments = (window_offset, length, file_offset, writable, dev, ino);
        (slf.get_type(), arguments).into_pyobject(slf.py())
    }

    fn __repr__(&self) -> String {
        format!(
            "MappingInfo(window_offset={:#x}, length={:#x}, file_offset={:#x}, writable={}, dev={}, ino={})",
            self.window_offset,
            self.length,
            self.file_offset,
            if self.writable { "True" } else { "False" },
            self.dev,
            self.ino
        )
    }
}

/// An entry of a batch of removals: a mapping, or a pair of offset and length.
pub(crate) fn range(index: usize, entry: &Bound<'_, PyAny>) -> PyResult<(u64, u64)> {
    if let Ok(mapping) = entry.cast::<MappingInfo>() {
        let mapping = mapping.get();
        return Ok((mapping.window_offset, mapping.length));
    }
    let wrong = || {
        let kind = entry.get_type();
        PyTypeError::new_err(format!("mappings[{index}]: {kind} is neither (window_offset, length) nor a MappingInfo"))
    };
    let (offset, length): (Bound<'_, PyAny>, Bound<'_, PyAny>) = entry.extract().map_err(|_| wrong())?;
    let number = |name: &str, value: &Bound<'_, PyAny>| {
        let name = format!("mappings[{index}].{name}");
        value.extract().map_err(|error| named(&name, value, error, u64::MAX))
    };
    Ok((number("window_offset", &offset)?, number("length", &length)?))
}

#[doc = docstring!(RemoveResult)]
#[pyclass(frozen, eq, module = "daxmap")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RemoveResult {
    #[doc = docstring!(RemoveResult.removed)]
    #[pyo3(get)]
    removed: u64,
    #[doc = docstring!(RemoveResult.failed)]
    #[pyo3(get)]
    failed: Vec<(u64, u64, i32)>,
}

impl RemoveResult {
    /// `entries` is the batch that `result` speaks of.
    pub(crate) fn of_batch(result: BatchResult, entries: &[(u64, u64)]) -> Self {
        let failed = result.failed.into_iter().filter_map(|(index, error)| {
            let (window_offset, length) = entries.get(index)?;
            Some((*window_offset, *length, error.errno().0))
        });
        Self { removed: result.removed, failed: failed.collect() }
    }
}

#[pymethods]
impl RemoveResult {
    #[new]
    fn new(removed: u64, failed: Vec<(u64, u64, i32)>) -> Self {
        Self { removed, failed }
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Py<PyTuple>> {
        Ok(PyTuple::new(py, ["removed", "failed"])?.unbind())
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let arguments = (slf.get().removed, slf.get().failed.clone());
        (slf.get_type(), arguments).into_pyobject(slf.py())
    }

    #[doc = docstring!(RemoveResult.errno)]
    #[getter]
    fn errno(&self) -> i32 {
        self.failed.first().map_or(0, |(_, _, errno)| *errno)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let failed = self.failed.iter().map(|(window_offset, length, errno)| {
            let name = errno_name(py, *errno).map_or_else(String::new, |name| format!(" {name}"));
            format!("({window_offset:#x}, {length:#x}, {errno}{name})")
        });
        format!("RemoveResult(removed={}, failed=[{}])", self.removed, failed.collect::<Vec<_>>().join(", "))
    }
}

/// `DaxStats` with these counters, in the order in which Python sees them, and all that goes through each of them.
macro_rules! counters {
    ($($name:ident),+ $(,)?) => {
        /// The plain counters by name.
        const COUNTERS: &[&str] = &[$(stringify!($name)),+];

        #[doc = docstring!(DaxStats)]
        #[pyclass(frozen, eq, module = "daxmap")]
        #[derive(Debug, PartialEq, Eq)]
        pub(crate) struct DaxStats {
            $(
                #[doc = docstring!(DaxStats.$name)]
                #[pyo3(get)]
                $name: i64,
            )+
            by_errno: BTreeMap<i32, i64>,
        }

        impl DaxStats {
            /// The counters with their names.
            fn counters(&self) -> impl Iterator<Item = (&'static str, i64)> {
                COUNTERS.iter().copied().zip([$(self.$name),+])
            }

            fn since(&self, before: &Self) -> Self {
                let mut by_errno = self.by_errno.clone();
                for (errno, earlier) in &before.by_errno {
                    let count = by_errno.entry(*errno).or_default();
                    *count = count.saturating_sub(*earlier);
                }
                by_errno.retain(|_, count| *count != 0);
                Self { $($name: self.$name.saturating_sub(before.$name),)+ by_errno }
            }
        }

        impl From<Stats> for DaxStats {
            fn from(stats: Stats) -> Self {
                let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
                let by_errno = stats.errors.iter().map(|(errno, count)| (*errno, signed(*count))).collect();
                Self { $($name: signed(stats.$name),)+ by_errno }
            }
        }
    };
}

counters!(
    setup_count,
    setup_bytes,
    remove_count,
    upgrade_count,
    replaced_count,
    split_count,
    swept_count,
    leaked_count,
    lost_count,
    live_mappings,
    live_bytes,
    peak_mappings,
);

#[pymethods]
impl DaxStats {
    #[new]
    #[pyo3(signature = (*, setup_count = 0, setup_bytes = 0, remove_count = 0, upgrade_count = 0, replaced_count = 0, split_count = 0, swept_count = 0, leaked_count = 0, lost_count = 0, live_mappings = 0, live_bytes = 0, peak_mappings = 0, errors = None))]
    #[allow(clippy::too_many_arguments)] // one for each counter
    fn new(
        setup_count: i64,
        setup_bytes: i64,
        remove_count: i64,
        upgrade_count: i64,
        replaced_count: i64,
        split_count: i64,
        swept_count: i64,
        leaked_count: i64,
        lost_count: i64,
        live_mappings: i64,
        live_bytes: i64,
        peak_mappings: i64,
        errors: Option<BTreeMap<i32, i64>>,
    ) -> Self {
        Self {
            setup_count,
            setup_bytes,
            remove_count,
            upgrade_count,
            replaced_count,
            split_count,
            swept_count,
            leaked_count,
            lost_count,
            live_mappings,
            live_bytes,
            peak_mappings,
            by_errno: errors.unwrap_or_default(),
        }
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Py<PyTuple>> {
        let names = COUNTERS.iter().chain(&["errors"]);
        Ok(PyTuple::new(py, names.collect::<Vec<_>>())?.unbind())
    }

    // The arguments are by name, which takes `functools.partial` here.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let partial = py.import("functools")?.getattr("partial")?;
        let make = partial.call((slf.get_type(),), Some(&slf.get().as_dict(py)?))?;
        Ok((make, PyTuple::empty(py)))
    }

    fn __sub__(&self, before: &Self) -> Self {
        self.since(before)
    }

    #[doc = docstring!(DaxStats.errors)]
    #[getter]
    fn errors(&self) -> BTreeMap<i32, i64> {
        self.by_errno.clone()
    }

    #[doc = docstring!(DaxStats.errors_by_name)]
    #[getter]
    fn errors_by_name(&self, py: Python<'_>) -> BTreeMap<String, i64> {
        let name = |errno: i32| errno_name(py, errno).unwrap_or_else(|| errno.to_string());
        self.by_errno.iter().map(|(errno, count)| (name(*errno), *count)).collect()
    }

    #[doc = docstring!(DaxStats.as_dict)]
    fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        for (name, count) in self.counters() {
            all.set_item(name, count)?;
        }
        all.set_item("errors", self.errors())?;
        Ok(all)
    }

    #[doc = docstring!(DaxStats._repr_html_)]
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        picture::draw("stats_html", slf.as_any(), None)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let counters = self.counters().map(|(name, count)| format!("{name}={count}"));
        let errors = self.by_errno.iter().map(|(errno, count)| match errno_name(py, *errno) {
            Some(name) => format!("{errno} {name}: {count}"),
            None => format!("{errno}: {count}"),
        });
        let (counters, errors) = (counters.collect::<Vec<_>>(), errors.collect::<Vec<_>>());
        format!("DaxStats({}, errors={{{}}})", counters.join(", "), errors.join(", "))
    }
}
