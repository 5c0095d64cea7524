//! A Python object as the hypervisor, and a Python object as the whole backend.

use crate::callbacks::{Callbacks, Method};
use daxmap_core::{
    Access, Backend, Errno, Failure, GuestAddress, HostRange, Hypervisor, Mapping, Placement, Refusal, Span,
    WindowOffset, is_read_write,
};
use pyo3::prelude::*;
use std::fmt;
use std::sync::Arc;

/// Plugs the methods of a Python object in as a hypervisor.
pub(crate) struct PyHypervisor {
    callbacks: Arc<Callbacks>,
    read_execute: Py<PyAny>,
    read_write_execute: Py<PyAny>,
}

impl PyHypervisor {
    pub(crate) fn new(py: Python<'_>, callbacks: Arc<Callbacks>) -> PyResult<Self> {
        let kind = py.import("daxmap.protocols")?.getattr("Access")?;
        let value = |access: Access| kind.call1((access.bits(),)).map(Bound::unbind);
        Ok(Self {
            callbacks,
            read_execute: value(Access::ReadExecute)?,
            read_write_execute: value(Access::ReadWriteExecute)?,
        })
    }

    fn access(&self, access: Access) -> &Py<PyAny> {
        match access {
            Access::ReadExecute => &self.read_execute,
            Access::ReadWriteExecute => &self.read_write_execute,
        }
    }
}

impl fmt::Debug for PyHypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PyHypervisor")
    }
}

impl Hypervisor for PyHypervisor {
    fn map(&mut self, memory: &HostRange, guest: GuestAddress, access: Access) -> Result<(), Refusal> {
        let length = memory.length();
        let arguments = (memory.start(), guest.0, length, self.access(access));
        self.callbacks.call(Method::Map, arguments, false, |py, callbacks| {
            callbacks.invoke(py, Method::Unmap, (guest.0, length)).map(drop)
        })
    }

    fn unmap(&mut self, guest: GuestAddress, length: u64) -> Result<(), Refusal> {
        self.callbacks.call(Method::Unmap, (guest.0, length), false, |_, _| Ok(()))
    }

    fn protect(&mut self, guest: GuestAddress, length: u64, access: Access) -> Option<Result<(), Refusal>> {
        if !self.callbacks.can_protect() {
            return None;
        }
        let arguments = (guest.0, length, self.access(access));
        Some(self.callbacks.call(Method::Protect, arguments, false, |py, callbacks| {
            callbacks.invoke(py, Method::Protect, (guest.0, length, &self.read_execute)).map(drop)
        }))
    }
}

/// Plugs the methods of a Python object in as a backend: the VMM does the mapping itself.
pub(crate) struct PyBackend(pub(crate) Arc<Callbacks>);

impl PyBackend {
    fn map(&self, placement: &Placement, writable: bool) -> Result<(), Refusal> {
        let Placement { span, fd, file_offset, .. } = *placement;
        let (start, length) = (span.start().0, span.length());
        self.0.call(Method::Map, (fd, file_offset.0, start, length, writable), true, |py, callbacks| {
            callbacks.invoke(py, Method::Unmap, (start, length)).map(drop)
        })
    }

    fn unmap(&self, span: Span) -> Result<(), Refusal> {
        self.0.call(Method::Unmap, (span.start().0, span.length()), true, |_, _| Ok(()))
    }
}

impl fmt::Debug for PyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PyBackend")
    }
}

impl Backend for PyBackend {
    /// Where the VMM maps in this process, it may do so as a host window does.
    fn vmas_per_mapping(&self) -> u64 {
        2
    }

    fn map(&mut self, placement: &Placement) -> Result<(), Failure> {
        Self::map(self, placement, placement.writable).map_err(Failure::Refused)
    }

    fn upgrade(&mut self, placement: &Placement) -> Result<(), Failure> {
        let Placement { span, fd, .. } = *placement;
        let (start, length) = (span.start().0, span.length());
        if self.0.can_protect() {
            let answer = self.0.call(Method::Protect, (fd, start, length, true), true, |py, callbacks| {
                callbacks.invoke(py, Method::Protect, (fd, start, length, false)).map(drop)
            });
            return answer.map_err(Failure::Refused);
        }
        if !is_read_write(fd) {
            return Err(Failure::Refused(Errno(libc::EACCES).into())); // before anything is taken from the guest
        }
        Self::unmap(self, span).map_err(Failure::Refused)?;
        Self::map(self, placement, true).map_err(|refusal| match Self::map(self, placement, false) {
            Ok(()) => Failure::Refused(refusal),
            Err(_) => Failure::Emptied(refusal),
        })
    }

    fn unmap(&mut self, span: Span, _mappings: &[Mapping]) -> Result<(), Failure> {
        Self::unmap(self, span).map_err(Failure::Refused)
    }

    fn read(&self, _offset: WindowOffset, _buffer: &mut [u8]) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }

    fn write(&self, _offset: WindowOffset, _data: &[u8]) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }
}
