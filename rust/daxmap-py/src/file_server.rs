//! `daxmap._core._FileServer`, the base of `daxmap.FileServer`.

use crate::docs::docstring;
use crate::error::open_error;
use crate::guest_buffer::guest_slice;
use crate::interrupt::raised_after;
use crate::mapper::DaxMapper;
use crate::message::bytes;
use crate::session::{SetupCounts, offer_of, setup_counts};
use daxmap_core::fuse::Policy;
use daxmap_virtiofs::{Cache, FileServer, Options, Owner};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{PyTraverseError, PyVisit};
use std::path::PathBuf;

#[doc = docstring!(_FileServer)]
#[pyclass(frozen, subclass, weakref, name = "_FileServer", module = "daxmap._core")]
pub(crate) struct PyFileServer {
    server: FileServer,
    directory: PathBuf,
    options: Options,
    mapper: Option<Py<DaxMapper>>,
}

#[pymethods]
impl PyFileServer {
    #[new]
    #[pyo3(signature = (directory, mapper, readonly, dax, min_size, owner, cache, max_open))]
    #[allow(clippy::too_many_arguments)] // one for each of the contract's
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        mapper: Option<Py<DaxMapper>>,
        readonly: bool,
        dax: &str,
        min_size: u64,
        owner: &str,
        cache: &str,
        max_open: Option<u64>,
    ) -> PyResult<Self> {
        let options = share_options(readonly, dax, min_size, owner, cache, max_open)?;
        let core = mapper.as_ref().map(|mapper| mapper.get().shared());
        let server = py.detach(|| FileServer::new(&directory, core, &options)).map_err(open_error)?;
        Ok(Self { server, directory, options, mapper })
    }

    #[doc = docstring!(_FileServer.answer)]
    fn answer<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = request.py();
        let request = bytes(request)?;
        let message = request.as_bytes();
        let reply = raised_after(|| Ok(py.detach(|| self.server.answer(message))))?;
        Ok(reply.map(|reply| PyBytes::new(py, &reply)))
    }

    #[doc = docstring!(_FileServer.answer_into)]
    fn answer_into(
        &self,
        py: Python<'_>,
        readable_buffers: Vec<Bound<'_, PyAny>>,
        writable_buffers: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let readable = readable_buffers.iter().map(PyBuffer::get).collect::<PyResult<Vec<_>>>()?;
        let writable = writable_buffers.iter().map(PyBuffer::get).collect::<PyResult<Vec<_>>>()?;
        let request = readable.iter().map(|buffer| guest_slice(buffer, false)).collect::<PyResult<Vec<_>>>()?;
        let reply = writable.iter().map(|buffer| guest_slice(buffer, true)).collect::<PyResult<Vec<_>>>()?;
        raised_after(|| Ok(py.detach(|| self.server.answer_into(&request, &reply))))
    }

    #[doc = docstring!(_FileServer.directory)]
    #[getter]
    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    #[doc = docstring!(_FileServer.mapper)]
    #[getter]
    fn mapper(&self, py: Python<'_>) -> Option<Py<DaxMapper>> {
        self.mapper.as_ref().map(|mapper| mapper.clone_ref(py))
    }

    #[doc = docstring!(_FileServer.readonly)]
    #[getter]
    fn readonly(&self) -> bool {
        self.options.readonly
    }

    #[doc = docstring!(_FileServer._offer)]
    fn _offer(&self) -> (&'static str, String) {
        offer_of(self.server.session())
    }

    #[doc = docstring!(_FileServer._setup_counts)]
    fn _setup_counts<'py>(&self, py: Python<'py>) -> PyResult<SetupCounts<'py>> {
        setup_counts(py, self.server.session(), self.mapper.as_ref().map(|mapper| mapper.get().core()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mapper)
    }

    fn __repr__(&self) -> String {
        let Options { readonly, dax, .. } = self.options;
        format!(
            "<FileServer {}{}, DAX {}, {} inodes known>",
            self.directory.display(),
            if readonly { ", read-only" } else { "" },
            match dax {
                _ if self.mapper.is_none() => "off",
                Policy::Always => "always",
                Policy::Inode { .. } => "by inode",
                Policy::Never => "never",
            },
            self.server.known_inodes(),
        )
    }
}

/// The options of a share, by their names.
pub(crate) fn share_options(
    readonly: bool,
    dax: &str,
    min_size: u64,
    owner: &str,
    cache: &str,
    max_open: Option<u64>,
) -> PyResult<Options> {
    let dax = match dax {
        "always" => Policy::Always,
        "inode" => Policy::Inode { min_size },
        "never" => Policy::Never,
        other => return Err(unknown("dax", other, "'always', 'inode', 'never'")),
    };
    let owner = match owner {
        "guest" => Owner::Guest,
        "host" => Owner::Host,
        other => return Err(unknown("owner", other, "'guest', 'host'")),
    };
    let cache = match cache {
        "auto" => Cache::Auto,
        "always" => Cache::Always,
        "never" => Cache::Never,
        other => return Err(unknown("cache", other, "'auto', 'always', 'never'")),
    };
    Ok(Options { readonly, dax, owner, cache, max_open })
}

fn unknown(name: &str, value: &str, known: &str) -> PyErr {
    PyValueError::new_err(format!("{name}: {value:?} is not one of {known}"))
}
