//! `daxmap.DaxMapper`.

use crate::backend::{AnyBackend, warn_of_resource};
use crate::convert::Fd;
use crate::error::{raise, raise_open};
use crate::logging::refresh_level;
use crate::values::{DaxStats, MappingInfo, RemoveResult};
use daxmap_core::{FileOffset, GuestAddress, Mapper, Options, WindowOffset};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};

/// The mappings of one share's DAX window.
#[pyclass(frozen, weakref, module = "daxmap")]
pub(crate) struct DaxMapper(Mapper);

impl DaxMapper {
    /// The mapper itself.
    pub(crate) fn core(&self) -> &Mapper {
        &self.0
    }
}

#[pymethods]
impl DaxMapper {
    #[new]
    #[pyo3(signature = (base, size, backend, *, readonly = false, max_mappings = None))]
    fn new(
        py: Python<'_>,
        base: u64,
        size: u64,
        backend: AnyBackend,
        readonly: bool,
        max_mappings: Option<u64>,
    ) -> PyResult<Self> {
        let options = Options { readonly, max_mappings };
        let open = || Mapper::new(GuestAddress(base), size, options, |window| backend.attach(window));
        py.detach(open).map(Self).map_err(raise_open)
    }

    fn setup_mapping(
        &self,
        py: Python<'_>,
        fd: Fd,
        file_offset: u64,
        window_offset: u64,
        length: u64,
        writable: bool,
    ) -> PyResult<()> {
        refresh_level(py);
        let (file_offset, window_offset) = (FileOffset(file_offset), WindowOffset(window_offset));
        py.detach(|| self.0.setup(fd.0, file_offset, window_offset, length, writable)).map_err(raise)
    }

    fn remove_mapping(&self, py: Python<'_>, window_offset: u64, length: u64) -> PyResult<()> {
        refresh_level(py);
        py.detach(|| self.0.remove(WindowOffset(window_offset), length)).map_err(raise)
    }

    fn remove_mappings(&self, py: Python<'_>, mappings: &Bound<'_, PyAny>) -> PyResult<RemoveResult> {
        refresh_level(py);
        let entries = mappings.try_iter()?.map(|entry| entry?.extract()).collect::<PyResult<Vec<(u64, u64)>>>()?;
        let result = py.detach(|| {
            let batch: Vec<_> = entries.iter().map(|(offset, length)| (WindowOffset(*offset), *length)).collect();
            self.0.remove_batch(&batch)
        });
        result.map(|result| RemoveResult::new(result, &entries)).map_err(raise)
    }

    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        refresh_level(py);
        py.detach(|| self.0.reset()).map_err(raise)
    }

    fn drain_all(&self, py: Python<'_>) -> PyResult<()> {
        refresh_level(py);
        py.detach(|| self.0.drain_all()).map_err(raise)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.drain_all(py)
    }

    fn lookup(&self, py: Python<'_>, window_offset: u64) -> PyResult<Option<MappingInfo>> {
        let found = py.detach(|| self.0.lookup(WindowOffset(window_offset))).map_err(raise)?;
        Ok(found.map(MappingInfo::from))
    }

    fn read<'py>(&self, py: Python<'py>, guest_address: u64, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        let data = py.detach(|| self.0.read(GuestAddress(guest_address), length)).map_err(raise)?;
        Ok(PyBytes::new(py, &data))
    }

    /// The data is copied first: another thread may change the buffer while the interpreter is released.
    fn write(&self, py: Python<'_>, guest_address: u64, data: PyBuffer<u8>) -> PyResult<()> {
        let data = data.to_vec(py)?;
        py.detach(|| self.0.write(GuestAddress(guest_address), &data)).map_err(raise)
    }

    fn stats(&self) -> DaxStats {
        DaxStats(self.0.stats())
    }

    #[getter]
    fn closed(&self) -> bool {
        self.0.is_closed()
    }

    #[getter]
    fn page_size(&self) -> u64 {
        self.0.page_size()
    }

    #[getter]
    fn host_address(&self) -> Option<usize> {
        self.0.host_address()
    }

    #[getter]
    fn base(&self) -> u64 {
        self.0.window().base().0
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.window().size()
    }

    #[getter]
    fn readonly(&self) -> bool {
        self.0.readonly()
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.0.live_mappings().try_into()?)
    }

    /// Of a copy of the book: the mapper may change while it is walked through.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let mappings = py.detach(|| self.0.mappings()).map_err(raise)?;
        PyList::new(py, mappings.into_iter().map(MappingInfo::from))?.try_iter()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.drain_all(py)
    }

    fn __repr__(&self) -> String {
        let stats = self.0.stats();
        format!(
            "<DaxMapper [{:#x}, +{:#x}) {} mappings, {} bytes{}{}>",
            self.base(),
            self.size(),
            stats.live_mappings,
            stats.live_bytes,
            if self.readonly() { ", read-only" } else { "" },
            if self.closed() { ", closed" } else { "" },
        )
    }
}

impl Drop for DaxMapper {
    fn drop(&mut self) {
        if !self.0.is_closed() && !self.0.in_forked_child() {
            warn_of_resource(c"DaxMapper dropped without drain_all()");
        }
    }
}
