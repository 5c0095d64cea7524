//! Plain values that operations return.

use daxmap_core::{BatchResult, Mapping, Stats};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// One live mapping.
#[pyclass(frozen, eq, hash, get_all, module = "daxmap")]
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MappingInfo {
    window_offset: u64,
    length: u64,
    file_offset: u64,
    writable: bool,
    dev: u64,
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

/// What became of a batch of removals.
#[pyclass(frozen, eq, module = "daxmap")]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RemoveResult {
    #[pyo3(get)]
    removed: u64,
    #[pyo3(get)]
    failed: Vec<(u64, u64, i32)>,
}

impl RemoveResult {
    /// `entries` is the batch that `result` speaks of.
    pub(crate) fn new(result: BatchResult, entries: &[(u64, u64)]) -> Self {
        let failed = result.failed.into_iter().filter_map(|(index, error)| {
            let (window_offset, length) = entries.get(index)?;
            Some((*window_offset, *length, error.errno().0))
        });
        Self { removed: result.removed, failed: failed.collect() }
    }
}

#[pymethods]
impl RemoveResult {
    #[getter]
    fn errno(&self) -> i32 {
        self.failed.first().map_or(0, |(_, _, errno)| *errno)
    }

    fn __repr__(&self) -> String {
        format!("RemoveResult(removed={}, failed={:?})", self.removed, self.failed)
    }
}

/// A mapper's counters.
#[pyclass(frozen, eq, module = "daxmap")]
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct DaxStats(pub(crate) Stats);

/// The plain counters, by name: one list for the getters, `as_dict` and `repr`.
macro_rules! counters {
    ($($name:ident),+) => {
        #[pymethods]
        impl DaxStats {
            #[new]
            fn new() -> Self {
                Self::default()
            }

            $(#[getter]
            fn $name(&self) -> u64 {
                self.0.$name
            })+

            #[getter]
            fn errors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let errors = PyDict::new(py);
                for (errno, count) in &self.0.errors {
                    errors.set_item(errno, count)?;
                }
                Ok(errors)
            }

            fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let all = PyDict::new(py);
                $(all.set_item(stringify!($name), self.0.$name)?;)+
                all.set_item("errors", self.errors(py)?)?;
                Ok(all)
            }

            fn __repr__(&self) -> String {
                let counters = [$(format!("{}={}", stringify!($name), self.0.$name)),+];
                let errors: Vec<_> = self.0.errors.iter().map(|(errno, count)| format!("{errno}: {count}")).collect();
                format!("DaxStats({}, errors={{{}}})", counters.join(", "), errors.join(", "))
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
    peak_mappings
);
