//! A Python object as the hypervisor.

use crate::callbacks::{Callbacks, Method};
use daxmap_core::{Access, GuestAddress, HostSlice, Hypervisor, Refusal};
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
    fn map(&mut self, memory: HostSlice<'_>, guest: GuestAddress, access: Access) -> Result<(), Refusal> {
        let arguments = (memory.start(), guest.0, memory.length(), self.access(access));
        self.callbacks.call(Method::Map, arguments, false)
    }

    fn unmap(&mut self, guest: GuestAddress, length: u64) -> Result<(), Refusal> {
        self.callbacks.call(Method::Unmap, (guest.0, length), false)
    }

    fn protect(&mut self, guest: GuestAddress, length: u64, access: Access) -> Option<Result<(), Refusal>> {
        let arguments = (guest.0, length, self.access(access));
        self.callbacks.can_protect().then(|| self.callbacks.call(Method::Protect, arguments, false))
    }
}
