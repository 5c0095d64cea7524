//! The part of `daxmap.DaxDispatcher` that every request passes.

use crate::callbacks::errno_of;
use crate::convert::Fd;
use crate::logging::log_exception;
use crate::mapper::DaxMapper;
use crate::message::read;
use daxmap_core::fuse::{self, Removal, Setup, Target, Undone};
use daxmap_core::{Errno, Mapper};
use pyo3::exceptions::{PyAttributeError, PyException, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList};
use pyo3::{PyTraverseError, PyVisit};
use std::os::fd::RawFd;

/// Answers one share's requests.
#[pyclass(frozen, subclass, weakref, name = "_Dispatcher", module = "daxmap._core")]
pub(crate) struct Dispatcher {
    fuse: fuse::Dispatcher,
    mapper: AnyMapper,
    resolver: Py<PyAny>,
}

/// Who keeps the mappings.
enum AnyMapper {
    None,
    Ours(Py<DaxMapper>),
    /// Any object with the methods of `daxmap.protocols.Mapper`.
    Theirs(Py<PyAny>),
}

#[pymethods]
impl Dispatcher {
    #[new]
    fn new(mapper: &Bound<'_, PyAny>, resolver: Bound<'_, PyAny>) -> PyResult<Self> {
        if !resolver.is_callable() {
            return Err(PyTypeError::new_err(format!("resolver: {} is not callable", resolver.get_type())));
        }
        Ok(Self { fuse: fuse::Dispatcher::new(), mapper: AnyMapper::new(mapper)?, resolver: resolver.unbind() })
    }

    fn handle<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = request.py();
        let Some((header, body)) = read(request)? else { return Ok(None) };
        let reply = self.fuse.answer(&header, &body, &Share { py, dispatcher: self })?;
        Ok(reply.map(|reply| PyBytes::new(py, &reply)))
    }

    fn setup_counts<'py>(&self, py: Python<'py>) -> PyResult<(u64, Bound<'py, PyDict>)> {
        let counts = self.fuse.counts();
        let refused = PyDict::new(py);
        for (errno, count) in counts.refused {
            refused.set_item(errno, count)?;
        }
        Ok((counts.mapped, refused))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.mapper {
            AnyMapper::None => {}
            AnyMapper::Ours(mapper) => visit.call(mapper)?,
            AnyMapper::Theirs(mapper) => visit.call(mapper)?,
        }
        visit.call(&self.resolver)
    }
}

impl AnyMapper {
    fn new(mapper: &Bound<'_, PyAny>) -> PyResult<Self> {
        if mapper.is_none() {
            return Ok(Self::None);
        }
        if let Ok(ours) = mapper.cast::<DaxMapper>() {
            return Ok(Self::Ours(ours.clone().unbind()));
        }
        for method in ["setup_mapping", "remove_mappings", "reset"] {
            if !mapper.hasattr(method)? {
                return Err(PyTypeError::new_err(format!("mapper: {} has no {method}", mapper.get_type())));
            }
        }
        Ok(Self::Theirs(mapper.clone().unbind()))
    }
}

/// A dispatcher's resolver and mapper, during one request.
struct Share<'a, 'py> {
    py: Python<'py>,
    dispatcher: &'a Dispatcher,
}

/// How a request ends that Python code could not do.
type Answer = Result<(), Undone<PyErr>>;

impl Target for Share<'_, '_> {
    type Interrupt = PyErr;

    fn setup(&self, wanted: &Setup) -> Answer {
        if matches!(self.dispatcher.mapper, AnyMapper::None) {
            return NO_MAPPER;
        }
        let arguments = (wanted.nodeid, wanted.fh, wanted.writable);
        let file = self.dispatcher.resolver.bind(self.py).call1(arguments);
        let file = file.map_err(|error| self.refused("resolver", error))?;
        if file.is_instance_of::<PyInt>() && !file.is_instance_of::<PyBool>() {
            let fd = file.extract().map_err(|error| self.refused("resolver", error))?;
            return self.map(wanted, fd);
        }
        let close = file.getattr(intern!(self.py, "close")).map_err(|error| {
            let lacking = error.is_instance_of::<PyAttributeError>(self.py);
            self.refused("resolver", if lacking { no_file(&file) } else { error })
        })?;
        let fd = file.extract().map_err(|error| self.refused("resolver", error));
        let answer = fd.and_then(|fd: Fd| self.map(wanted, fd.0));
        match close.call0().map_err(|error| self.refused("close of the resolver's file", error)) {
            Err(Undone::Interrupted(interrupt)) => Err(Undone::Interrupted(interrupt)),
            _ => answer, // a mapping stands without its file
        }
    }

    fn remove(&self, which: &Removal) -> Answer {
        match &self.dispatcher.mapper {
            AnyMapper::None => NO_MAPPER,
            AnyMapper::Ours(mapper) => told(mapper.get().call(self.py, |mapper| which.apply(mapper))),
            AnyMapper::Theirs(mapper) => {
                let errno = remove_theirs(mapper.bind(self.py), which);
                match errno.map_err(|error| self.refused("mapper", error))? {
                    0 => Ok(()),
                    errno => Err(Undone::Errno(Errno(errno))),
                }
            }
        }
    }

    fn restart(&self) -> PyResult<()> {
        match &self.dispatcher.mapper {
            AnyMapper::None => {}
            AnyMapper::Ours(mapper) if !mapper.get().has_mappings() => {}
            AnyMapper::Ours(mapper) => {
                // Refused in a forked child, which has nothing to reset.
                let _ = mapper.get().call(self.py, Mapper::reset)?;
            }
            AnyMapper::Theirs(mapper) => {
                let reset = reset_theirs(mapper.bind(self.py)).map_err(|error| self.refused("mapper", error));
                if let Err(Undone::Interrupted(interrupt)) = reset {
                    return Err(interrupt);
                }
            }
        }
        Ok(())
    }
}

impl Share<'_, '_> {
    fn map(&self, wanted: &Setup, fd: RawFd) -> Answer {
        match &self.dispatcher.mapper {
            AnyMapper::None => NO_MAPPER,
            AnyMapper::Ours(mapper) => told(mapper.get().call(self.py, |mapper| wanted.apply(mapper, fd))),
            AnyMapper::Theirs(mapper) => {
                let Setup { file_offset, window_offset, length, writable, .. } = *wanted;
                let arguments = (fd, file_offset.0, window_offset.0, length, writable);
                let result = mapper.call_method1(self.py, intern!(self.py, "setup_mapping"), arguments);
                result.map(drop).map_err(|error| self.refused("mapper", error))
            }
        }
    }

    /// What an exception of the VMM's own code means for the guest. `who` raised it.
    fn refused(&self, who: &str, error: PyErr) -> Undone<PyErr> {
        if !error.is_instance_of::<PyException>(self.py) {
            return Undone::Interrupted(error);
        }
        if let Some(errno) = errno_of(self.py, &error) {
            self.dispatcher.fuse.warn(format_args!("{who}: {error}"));
            return Undone::Errno(Errno(errno));
        }
        if let Some(text) = self.dispatcher.fuse.admit(format_args!("{who} failed")) {
            log_exception(self.py, &text, &error);
        }
        Undone::Errno(Errno(libc::EIO))
    }
}

const NO_MAPPER: Answer = Err(Undone::Errno(Errno(libc::ENOSYS)));

fn told(answer: PyResult<daxmap_core::Result<()>>) -> Answer {
    match answer {
        Ok(answer) => answer.map_err(|error| Undone::Errno(error.errno())),
        Err(interrupt) => Err(Undone::Interrupted(interrupt)),
    }
}

fn no_file(file: &Bound<'_, PyAny>) -> PyErr {
    let kind = file.get_type();
    PyTypeError::new_err(format!("the resolver returned {kind}, not an int or an object with fileno() and close()"))
}

fn remove_theirs(mapper: &Bound<'_, PyAny>, which: &Removal) -> PyResult<i32> {
    let py = mapper.py();
    match which {
        Removal::Of(entries) => {
            let entries = PyList::new(py, entries.iter().map(|(offset, length)| (offset.0, *length)))?;
            let result = mapper.call_method1(intern!(py, "remove_mappings"), (entries,))?;
            result.getattr(intern!(py, "errno"))?.extract()
        }
        Removal::OfEverything => mapper.call_method0(intern!(py, "reset")).map(|_| 0),
    }
}

/// Of a mapper that can tell that it has no mappings, nothing is asked.
fn reset_theirs(mapper: &Bound<'_, PyAny>) -> PyResult<()> {
    if !mapper.hasattr(intern!(mapper.py(), "__len__"))? || mapper.len()? > 0 {
        mapper.call_method0(intern!(mapper.py(), "reset"))?;
    }
    Ok(())
}
