//! `daxmap.DaxMapper`.

use crate::argument;
use crate::backend::{AnyBackend, warn_of_resource};
use crate::call::{call, raising};
use crate::callbacks::Callbacks;
use crate::convert::Fd;
use crate::docs::docstring;
use crate::error::open_error;
use crate::exit;
use crate::interrupt::{in_destructor, stops_waiting};
use crate::loan::PyLoan;
use crate::picture;
use crate::values::{DaxStats, MappingInfo, RemoveResult, range};
use daxmap_core::{Error, FileOffset, GuestAddress, MapRequest, Mapper, Options, Overlap, Surveyed, WindowOffset};
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyIterator, PyList, PyMemoryView, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

/// A live mapping, where its file is, how long that is, and how much of it is resident in each 2 MiB.
type Seen = (MappingInfo, Option<OsString>, Option<u64>, Vec<u64>);

#[doc = docstring!(DaxMapper)]
#[pyclass(frozen, weakref, module = "daxmap")]
pub(crate) struct DaxMapper {
    mapper: Arc<Mapper>,
    /// The methods that the backend calls, for the garbage collector.
    callbacks: Mutex<Option<Arc<Callbacks>>>,
}

impl DaxMapper {
    /// Whether the mapper could grant a request, whatever the file: see `Mapper::check`, which waits for nothing.
    pub(crate) fn check(&self, request: &MapRequest) -> Result<(), Error> {
        self.mapper.check(request)
    }

    /// The mapper itself.
    pub(crate) fn core(&self) -> &Mapper {
        &self.mapper
    }

    /// The mapper itself, for those who keep it: a file server, which calls it without the interpreter, or a loan.
    pub(crate) fn shared(&self) -> Arc<Mapper> {
        Arc::clone(&self.mapper)
    }

    /// Makes a call of the mapper, any error of which is an exception.
    fn detached<T: Send>(&self, py: Python<'_>, call: impl Send + FnOnce(&Mapper) -> Result<T, Error>) -> PyResult<T> {
        raising(py, &self.mapper, call)
    }

    /// Drains with a warning, if nobody did before.
    fn finalize(&self, py: Python<'_>) {
        if self.mapper.is_closed() || self.mapper.in_forked_child() {
            return;
        }
        warn_of_resource(c"DaxMapper dropped without drain_all()");
        let abandoned = call(py, &self.mapper, |mapper| {
            mapper.abandon();
            Ok(())
        });
        if let Err(error) = abandoned {
            error.write_unraisable(py, None);
        }
    }
}

#[pymethods]
impl DaxMapper {
    #[new]
    #[pyo3(
        signature = (
            base, size, backend, *, readonly = false, max_mappings = None, prefault = false, name = String::new()
        ),
        text_signature = "(base, size, backend, *, readonly=False, max_mappings=None, prefault=False, name='')"
    )]
    #[allow(clippy::too_many_arguments)] // one for each of the contract's
    fn new(
        py: Python<'_>,
        #[pyo3(from_py_with = argument::base)] base: u64,
        #[pyo3(from_py_with = argument::size)] size: u64,
        backend: AnyBackend,
        #[pyo3(from_py_with = argument::readonly)] readonly: bool,
        #[pyo3(from_py_with = argument::max_mappings)] max_mappings: Option<u64>,
        #[pyo3(from_py_with = argument::prefault)] prefault: bool,
        #[pyo3(from_py_with = argument::name)] name: String,
    ) -> PyResult<Self> {
        let options = Options { readonly, max_mappings, prefault, stop_waiting: Some(stops_waiting) };
        let callbacks = backend.callbacks();
        let open = || Mapper::new(GuestAddress(base), size, options, |window| backend.attach(window, readonly));
        let mapper = py.detach(open).map_err(open_error)?;
        let mapper = mapper.named(name);
        Ok(Self { mapper: Arc::new(mapper), callbacks: Mutex::new(callbacks) })
    }

    #[doc = docstring!(DaxMapper.for_share)]
    // All that the layout knows of a share, so that nothing of it is forgotten: its read-only switch least of all.
    #[classmethod]
    #[pyo3(signature = (share, backend, *, max_mappings = None, prefault = false))]
    fn for_share(
        _class: &Bound<'_, PyType>,
        share: &Bound<'_, PyAny>,
        backend: AnyBackend,
        #[pyo3(from_py_with = argument::max_mappings)] max_mappings: Option<u64>,
        #[pyo3(from_py_with = argument::prefault)] prefault: bool,
    ) -> PyResult<Self> {
        let _inside = exit::enter(share.py())?;
        let of = |attribute: &str| {
            share.getattr(attribute).map_err(|error| {
                let kind = share.get_type();
                let lacking = error.is_instance_of::<PyAttributeError>(share.py());
                let text = format!("share: {kind} has no {attribute}; take one of WindowLayout.shares");
                if lacking { PyTypeError::new_err(text) } else { error }
            })
        };
        let (base, size) = (of("base")?.extract()?, of("size")?.extract()?);
        let (readonly, name) = (of("readonly")?.extract()?, of("tag")?.extract::<String>()?);
        Self::new(share.py(), base, size, backend, readonly, max_mappings, prefault, name)
    }

    #[doc = docstring!(DaxMapper.setup_mapping)]
    #[pyo3(signature = (fd, file_offset, window_offset, length, writable, *, replace = false))]
    #[allow(clippy::too_many_arguments)] // one for each of the contract's
    fn setup_mapping(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::fd)] fd: Fd,
        #[pyo3(from_py_with = argument::file_offset)] file_offset: u64,
        #[pyo3(from_py_with = argument::window_offset)] window_offset: u64,
        #[pyo3(from_py_with = argument::length)] length: u64,
        #[pyo3(from_py_with = argument::writable)] writable: bool,
        #[pyo3(from_py_with = argument::replace)] replace: bool,
    ) -> PyResult<()> {
        let (file_offset, window_offset) = (FileOffset(file_offset), WindowOffset(window_offset));
        let request = MapRequest { file_offset, window_offset, length, writable };
        let overlap = overlap(replace);
        self.detached(py, |mapper| mapper.setup(fd.0, &request, overlap))
    }

    #[doc = docstring!(DaxMapper.remove_mapping)]
    fn remove_mapping(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::window_offset)] window_offset: u64,
        #[pyo3(from_py_with = argument::length)] length: u64,
    ) -> PyResult<()> {
        self.detached(py, |mapper| mapper.remove(WindowOffset(window_offset), length))
    }

    #[doc = docstring!(DaxMapper.remove_range)]
    fn remove_range(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::window_offset)] window_offset: u64,
        #[pyo3(from_py_with = argument::length)] length: u64,
    ) -> PyResult<()> {
        self.detached(py, |mapper| mapper.remove_range(WindowOffset(window_offset), length))
    }

    #[doc = docstring!(DaxMapper.refresh)]
    fn refresh(&self, py: Python<'_>, #[pyo3(from_py_with = argument::fd)] fd: Fd) -> PyResult<u64> {
        self.detached(py, |mapper| mapper.refresh(fd.0))
    }

    #[doc = docstring!(DaxMapper.remove_mappings)]
    fn remove_mappings(&self, py: Python<'_>, mappings: &Bound<'_, PyAny>) -> PyResult<RemoveResult> {
        let entries = {
            let _inside = exit::enter(py)?;
            mappings
                .try_iter()?
                .enumerate()
                .map(|(index, entry)| range(index, &entry?))
                .collect::<PyResult<Vec<_>>>()?
        };
        let result = self.detached(py, |mapper| {
            let batch: Vec<_> = entries.iter().map(|(offset, length)| (WindowOffset(*offset), *length)).collect();
            mapper.remove_batch(&batch)
        })?;
        Ok(RemoveResult::of_batch(result, &entries))
    }

    #[doc = docstring!(DaxMapper.reset)]
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Mapper::reset)
    }

    #[doc = docstring!(DaxMapper.drain_all)]
    fn drain_all(&self, py: Python<'_>) -> PyResult<()> {
        self.detached(py, Mapper::drain_all)
    }

    #[doc = docstring!(DaxMapper.close)]
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.drain_all(py)
    }

    #[doc = docstring!(DaxMapper.lookup)]
    fn lookup(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::window_offset)] window_offset: u64,
    ) -> PyResult<Option<MappingInfo>> {
        let found = self.detached(py, |mapper| mapper.lookup(WindowOffset(window_offset)))?;
        Ok(found.map(MappingInfo::from))
    }

    #[doc = docstring!(DaxMapper.read)]
    fn read<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = argument::guest_address)] guest_address: u64,
        #[pyo3(from_py_with = argument::length)] length: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let data = self.detached(py, |mapper| mapper.read(GuestAddress(guest_address), length))?;
        // Not `PyBytes::new`, which panics where there is no memory.
        PyBytes::new_with(py, data.len(), |bytes| {
            bytes.copy_from_slice(&data);
            Ok(())
        })
    }

    #[doc = docstring!(DaxMapper.write)]
    // The data is copied first: another thread may change the buffer while the interpreter is released.
    fn write(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::guest_address)] guest_address: u64,
        data: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let copy = PyMemoryView::from(data)?.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        let data = copy.as_bytes();
        self.detached(py, |mapper| mapper.write(GuestAddress(guest_address), data))
    }

    #[doc = docstring!(DaxMapper.map_file)]
    #[pyo3(signature = (file, window_offset = 0, writable = false, *, replace = false))]
    fn map_file(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::file)] file: Fd,
        #[pyo3(from_py_with = argument::window_offset)] window_offset: u64,
        #[pyo3(from_py_with = argument::writable)] writable: bool,
        #[pyo3(from_py_with = argument::replace)] replace: bool,
    ) -> PyResult<u64> {
        let overlap = overlap(replace);
        self.detached(py, |mapper| mapper.map_file(file.0, WindowOffset(window_offset), writable, overlap))
    }

    #[doc = docstring!(DaxMapper.resolve)]
    #[pyo3(signature = (guest_address, length, *, writable))]
    fn resolve(
        slf: Bound<'_, Self>,
        #[pyo3(from_py_with = argument::guest_address)] guest_address: u64,
        #[pyo3(from_py_with = argument::length)] length: u64,
        #[pyo3(from_py_with = argument::writable)] writable: bool,
    ) -> PyLoan {
        PyLoan::new(slf.get().shared(), slf.clone().into_any().unbind(), guest_address, length, writable)
    }

    #[doc = docstring!(DaxMapper.explain)]
    fn explain(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::guest_address)] guest_address: u64,
    ) -> PyResult<String> {
        self.detached(py, |mapper| mapper.explain(GuestAddress(guest_address)))
    }

    #[doc = docstring!(DaxMapper.export_state)]
    fn export_state<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = exit::enter(slf.py())?;
        slf.py().import("daxmap.state")?.getattr("export_state")?.call1((slf,))
    }

    #[doc = docstring!(DaxMapper.restore_state)]
    fn restore_state<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        opener: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = exit::enter(slf.py())?;
        slf.py().import("daxmap.state")?.getattr("restore_state")?.call1((slf, data, opener))
    }

    #[doc = docstring!(DaxMapper.render)]
    #[pyo3(signature = (*, width = None))]
    fn render<'py>(
        slf: &Bound<'py, Self>,
        #[pyo3(from_py_with = argument::width)] width: Option<u32>,
    ) -> PyResult<Bound<'py, PyAny>> {
        picture::draw("render", slf.as_any(), Some(&[("width", width)].into_py_dict(slf.py())?))
    }

    #[doc = docstring!(DaxMapper.to_svg)]
    fn to_svg<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        picture::draw("to_svg", slf.as_any(), None)
    }

    #[doc = docstring!(DaxMapper._repr_html_)]
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        picture::draw("mapper_html", slf.as_any(), None)
    }

    #[doc = docstring!(DaxMapper._survey)]
    fn _survey(&self, py: Python<'_>) -> PyResult<Vec<Seen>> {
        let seen = self.detached(py, Mapper::survey)?;
        let path = |path: CString| OsStr::from_bytes(path.as_bytes()).to_owned();
        Ok(seen
            .into_iter()
            .map(|Surveyed { mapping, path: found, file_size, resident }| {
                (mapping.into(), found.map(path), file_size, resident)
            })
            .collect())
    }

    #[doc = docstring!(DaxMapper.stats)]
    fn stats(&self) -> DaxStats {
        self.mapper.stats().into()
    }

    #[doc = docstring!(DaxMapper.closed)]
    #[getter]
    fn closed(&self) -> bool {
        self.mapper.is_closed()
    }

    #[doc = docstring!(DaxMapper.page_size)]
    #[getter]
    fn page_size(&self) -> u64 {
        self.mapper.page_size()
    }

    #[doc = docstring!(DaxMapper.host_address)]
    #[getter]
    fn host_address(&self) -> Option<usize> {
        self.mapper.host_address()
    }

    #[doc = docstring!(DaxMapper.base)]
    #[getter]
    fn base(&self) -> u64 {
        self.mapper.window().base().0
    }

    #[doc = docstring!(DaxMapper.size)]
    #[getter]
    fn size(&self) -> u64 {
        self.mapper.window().size()
    }

    #[doc = docstring!(DaxMapper.name)]
    #[getter]
    fn name(&self) -> &str {
        self.mapper.name()
    }

    #[doc = docstring!(DaxMapper.readonly)]
    #[getter]
    fn readonly(&self) -> bool {
        self.mapper.readonly()
    }

    #[doc = docstring!(DaxMapper.__bool__)]
    // Not whether there are mappings, though there is a length.
    #[allow(clippy::unused_self)]
    fn __bool__(&self) -> bool {
        true
    }

    #[doc = docstring!(DaxMapper.__len__)]
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.mapper.live_mappings().try_into()?)
    }

    #[doc = docstring!(DaxMapper.__iter__)]
    // Of a copy of the book: the mapper may change while it is walked through.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let mappings = self.detached(py, Mapper::mappings)?;
        PyList::new(py, mappings.into_iter().map(MappingInfo::from))?.try_iter()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    // A forked child that leaves the block, by `sys.exit` say, leaves its parent's mapper alone.
    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        if self.mapper.in_forked_child() {
            return Ok(());
        }
        self.drain_all(py)
    }

    // The garbage collector calls it before it takes a cycle apart, while the callbacks can still do their work. Other
    // mappers are finalized by their destructor.
    fn __del__(&self, py: Python<'_>) {
        self.finalize(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.callbacks.try_lock().as_deref() {
            Ok(Some(callbacks)) => callbacks.traverse(&visit),
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        drop(self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn __repr__(&self) -> String {
        let stats = self.mapper.stats();
        format!(
            "<DaxMapper {}[{:#x}, +{:#x}) {} mapping{}, {} bytes{}{}>",
            if self.name().is_empty() { String::new() } else { format!("{:?} ", self.name()) },
            self.base(),
            self.size(),
            stats.live_mappings,
            if stats.live_mappings == 1 { "" } else { "s" },
            stats.live_bytes,
            if self.readonly() { ", read-only" } else { "" },
            if self.closed() { ", closed" } else { "" },
        )
    }
}

fn overlap(replace: bool) -> Overlap {
    if replace { Overlap::Replace } else { Overlap::Refuse }
}

impl Drop for DaxMapper {
    fn drop(&mut self) {
        // None while the interpreter shuts down: then the core's own destructor drains.
        let _ = in_destructor(|py| self.finalize(py));
    }
}
