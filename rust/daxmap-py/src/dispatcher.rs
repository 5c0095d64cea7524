//! The part of `daxmap.DaxDispatcher` that every request passes.

use crate::call::call;
use crate::callbacks::{check_callable, errno_of, refuse_class};
use crate::convert::Fd;
use crate::docs::docstring;
use crate::error::Raised;
use crate::exit;
use crate::interrupt::raised_after;
use crate::logging::log_exception;
use crate::mapper::DaxMapper;
use crate::message::{bytes, read};
use crate::session::{SetupCounts, offer_of, setup_counts};
use daxmap_core::fuse::{self, Header, Policy, Request, Session};
use daxmap_core::{Errno, Error, MapRequest, Mapper, Overlap, WindowOffset};
use pyo3::exceptions::{PyAttributeError, PyException, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBool, PyBytes, PyInt};
use pyo3::{PyTraverseError, PyVisit};
use std::os::fd::RawFd;

#[doc = docstring!(_Dispatcher)]
#[pyclass(frozen, subclass, weakref, name = "_Dispatcher", module = "daxmap._core")]
pub(crate) struct Dispatcher {
    mapper: AnyMapper,
    resolver: Py<PyAny>,
    session: Session,
}

/// Who keeps the mappings.
enum AnyMapper {
    None,
    Ours(Py<DaxMapper>),
    /// Any object with the methods of `daxmap.protocols.Mapper`.
    Theirs(Py<PyAny>),
}

/// Why a request was not done.
enum NotDone {
    /// The guest is told this errno of the host. The log has the reason.
    Refused(Errno),
    /// The VMM's own program is being stopped. The guest is told nothing.
    Interrupted(PyErr),
}

/// A request on its way through a dispatcher.
struct Call<'a, 'py> {
    py: Python<'py>,
    dispatcher: &'a Dispatcher,
    header: &'a Header,
}

#[pymethods]
impl Dispatcher {
    #[new]
    fn new(mapper: &Bound<'_, PyAny>, resolver: Bound<'_, PyAny>, dax: &str, min_size: u64) -> PyResult<Self> {
        let _inside = exit::enter(resolver.py())?;
        check_callable("resolver", &resolver, &["nodeid", "fh", "writable"])?;
        let policy = match dax {
            "always" => Policy::Always,
            "inode" => Policy::Inode { min_size },
            "never" => Policy::Never,
            _ => return Err(PyValueError::new_err(format!("dax: {dax:?} is not one of 'always', 'inode', 'never'"))),
        };
        #[cfg(target_os = "linux")]
        let _ = daxmap_core::keep_proc_self(); // for `reopen`, which says where it is not there
        Ok(Self {
            mapper: if policy == Policy::Never { AnyMapper::None } else { AnyMapper::new(mapper)? },
            resolver: resolver.unbind(),
            session: Session::new(policy),
        })
    }

    #[doc = docstring!(_Dispatcher.handle)]
    fn handle<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        match read(request)? {
            Some((header, body)) => self.reply_to(request.py(), &header, &body),
            None => Ok(None),
        }
    }

    #[doc = docstring!(_Dispatcher.negotiate)]
    fn negotiate<'py>(
        &self,
        init_request: &Bound<'py, PyAny>,
        init_reply: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let own = bytes(init_reply)?;
        let Some((header, body)) = read(init_request)? else { return Ok(own) };
        let Ok(Request::Init(init)) = fuse::decode(&header, &body) else { return Ok(own) };
        if let Err(broken) = fuse::verify(header.unique(), own.as_bytes()) {
            let length = own.as_bytes().len();
            return Err(PyValueError::new_err(format!("the reply to INIT, of {length} bytes: {broken}")));
        }
        if matches!(self.mapper, AnyMapper::None) {
            return Ok(own);
        }
        let mut reply = own.as_bytes().to_vec();
        self.session.negotiate(&init, &mut reply);
        Ok(PyBytes::new(own.py(), &reply))
    }

    #[doc = docstring!(_Dispatcher._attr_flags)]
    fn _attr_flags(&self, mode: u32, size: u64) -> u32 {
        if matches!(self.mapper, AnyMapper::None) { 0 } else { self.session.policy().attr_flags(mode, size) }
    }

    #[doc = docstring!(_Dispatcher._offer)]
    fn _offer(&self) -> (&'static str, String) {
        offer_of(&self.session)
    }

    #[doc = docstring!(_Dispatcher._setup_counts)]
    fn _setup_counts<'py>(&self, py: Python<'py>) -> PyResult<SetupCounts<'py>> {
        let mapper = if let AnyMapper::Ours(mapper) = &self.mapper { Some(mapper.get().core()) } else { None };
        setup_counts(py, &self.session, mapper)
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

impl Dispatcher {
    /// Apart from `handle`, which is quick about the requests of others.
    #[inline(never)]
    fn reply_to<'py>(&self, py: Python<'py>, header: &Header, body: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        raised_after(|| Call { py, dispatcher: self, header }.reply(body))
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
        refuse_class("mapper", mapper)?;
        for name in ["setup_mapping", "remove_range", "reset"] {
            if !mapper.getattr_opt(name)?.is_some_and(|method| method.is_callable()) {
                return Err(PyTypeError::new_err(format!("mapper: {} has no method {name}", mapper.get_type())));
            }
        }
        Ok(Self::Theirs(mapper.clone().unbind()))
    }
}

impl<'py> Call<'_, 'py> {
    /// Does what is asked for, and replies; nothing where the reply is for the VMM's own dispatcher to give.
    fn reply(&self, body: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let done = match fuse::decode(self.header, body) {
            Ok(Request::Setup { nodeid, fh, range }) => self.setup(nodeid, fh, &range),
            Ok(Request::Remove(ranges)) => self.remove(&ranges),
            Ok(Request::RemoveAll) => self.remove_all(),
            Ok(Request::Init(_)) => {
                self.dispatcher.session.restart();
                return self.restart().map(|()| None);
            }
            Ok(Request::Destroy) => return self.restart().map(|()| None),
            Ok(Request::Other) => return Ok(None),
            Err(malformed) => Err(NotDone::Refused(self.dispatcher.session.malformed(malformed))),
        };
        let done = match done {
            Ok(()) => Ok(()),
            Err(NotDone::Refused(errno)) => Err(errno),
            Err(NotDone::Interrupted(interrupt)) => return Err(interrupt),
        };
        Ok(Some(PyBytes::new(self.py, &self.dispatcher.session.reply(self.header, done))))
    }

    fn setup(&self, nodeid: u64, fh: Option<u64>, range: &MapRequest) -> Result<(), NotDone> {
        match &self.dispatcher.mapper {
            AnyMapper::None => return NO_MAPPER,
            // Before the resolver: to open a file for writing may change it, and a file system of layers copies it.
            AnyMapper::Ours(mapper) => mapper.get().check(range)?,
            AnyMapper::Theirs(_) => {}
        }
        let _inside = exit::enter(self.py)?;
        let file = self.dispatcher.resolver.bind(self.py).call1((nodeid, fh, range.writable));
        let file = file.map_err(|error| self.raised("resolver", error))?;
        if file.is_instance_of::<PyInt>() && !file.is_instance_of::<PyBool>() {
            let fd = file.extract().map_err(|error| self.raised("resolver", error))?;
            return self.map(range, fd);
        }
        let close = file.getattr(intern!(self.py, "close")).map_err(|error| {
            let lacking = error.is_instance_of::<PyAttributeError>(self.py);
            self.raised("resolver", if lacking { no_file(&file) } else { error })
        })?;
        let fd = Fd::of("what it returned", &file).map_err(|error| self.raised("resolver", error));
        let done = fd.and_then(|fd| self.map(range, fd.0));
        match close.call0().map_err(|error| self.raised("close of the resolver's file", error)) {
            Err(interrupted @ NotDone::Interrupted(_)) => Err(interrupted),
            _ => done, // a mapping stands without its file
        }
    }

    fn map(&self, range: &MapRequest, fd: RawFd) -> Result<(), NotDone> {
        match &self.dispatcher.mapper {
            AnyMapper::None => NO_MAPPER,
            AnyMapper::Ours(mapper) => {
                Ok(call(self.py, mapper.get().core(), |mapper| mapper.setup(fd, range, Overlap::Replace))??)
            }
            AnyMapper::Theirs(mapper) => {
                let MapRequest { file_offset, window_offset, length, writable } = *range;
                let arguments = (fd, file_offset.0, window_offset.0, length, writable);
                let done = [("replace", true)].into_py_dict(self.py).and_then(|keywords| {
                    mapper.call_method(self.py, intern!(self.py, "setup_mapping"), arguments, Some(&keywords))
                });
                done.map(drop).map_err(|error| self.raised("mapper", error))
            }
        }
    }

    fn remove(&self, ranges: &[(WindowOffset, u64)]) -> Result<(), NotDone> {
        match &self.dispatcher.mapper {
            AnyMapper::None => NO_MAPPER,
            AnyMapper::Ours(mapper) => Ok(call(self.py, mapper.get().core(), |mapper| mapper.remove_ranges(ranges))??),
            AnyMapper::Theirs(mapper) => {
                let _inside = exit::enter(self.py)?;
                let mut first = Ok(());
                for (offset, length) in ranges {
                    let removed = mapper.call_method1(self.py, intern!(self.py, "remove_range"), (offset.0, *length));
                    match removed.map_err(|error| self.raised("mapper", error)) {
                        Err(interrupted @ NotDone::Interrupted(_)) => return Err(interrupted),
                        removed => first = first.and(removed.map(drop)),
                    }
                }
                first
            }
        }
    }

    fn remove_all(&self) -> Result<(), NotDone> {
        match &self.dispatcher.mapper {
            AnyMapper::None => NO_MAPPER,
            AnyMapper::Ours(mapper) => Ok(call(self.py, mapper.get().core(), Mapper::remove_all)??),
            AnyMapper::Theirs(mapper) => self.reset(mapper),
        }
    }

    /// Takes away whatever is mapped. No failure keeps a guest from starting, nor from leaving.
    fn restart(&self) -> PyResult<()> {
        let _inside = exit::enter(self.py)?;
        let done = match &self.dispatcher.mapper {
            AnyMapper::None => Ok(()),
            AnyMapper::Ours(mapper) => {
                // A closed mapper, and one that a forked child has of its parent, has nothing to take away.
                let open = |mapper: &Mapper| if mapper.is_closed() { Ok(()) } else { mapper.reset() };
                call(self.py, mapper.get().core(), open)?.map_err(NotDone::from)
            }
            AnyMapper::Theirs(mapper) => match mapper.bind(self.py).len() {
                Ok(0) => Ok(()),
                Err(error) if !error.is_instance_of::<PyException>(self.py) => Err(NotDone::Interrupted(error)),
                _ => self.reset(mapper),
            },
        };
        match done {
            Err(NotDone::Interrupted(interrupt)) => Err(interrupt),
            _ => Ok(()),
        }
    }

    fn reset(&self, mapper: &Py<PyAny>) -> Result<(), NotDone> {
        let _inside = exit::enter(self.py)?;
        let reset = mapper.call_method0(self.py, intern!(self.py, "reset"));
        reset.map(drop).map_err(|error| self.raised("mapper", error))
    }

    /// What an exception of the VMM's own code means. `by` raised it.
    fn raised(&self, by: &str, error: PyErr) -> NotDone {
        if !error.is_instance_of::<PyException>(self.py) {
            return NotDone::Interrupted(error);
        }
        if let Some(errno) = errno_of(self.py, &error) {
            self.dispatcher.session.warnings().warn(format_args!("{by}: {}", Raised(error)));
            return NotDone::Refused(Errno(errno));
        }
        let error = Raised(error);
        if let Some(text) = self.dispatcher.session.warnings().admit(format_args!("{by} failed: {error}")) {
            log_exception(self.py, &text, &error.0);
        }
        NotDone::Refused(Errno(libc::EIO))
    }
}

const NO_MAPPER: Result<(), NotDone> = Err(NotDone::Refused(Errno(libc::ENOSYS)));

/// The mapper has logged it.
impl From<Error> for NotDone {
    fn from(error: Error) -> Self {
        Self::Refused(error.errno())
    }
}

/// What comes out of a call of our own mapper beside its result is no `Exception`: see `DaxMapper::call`.
impl From<PyErr> for NotDone {
    fn from(interrupt: PyErr) -> Self {
        Self::Interrupted(interrupt)
    }
}

fn no_file(file: &Bound<'_, PyAny>) -> PyErr {
    let kind = file.get_type();
    PyTypeError::new_err(format!("the resolver returned {kind}, not an int or an object with fileno() and close()"))
}
