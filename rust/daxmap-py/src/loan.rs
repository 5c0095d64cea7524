//! What `daxmap.DaxMapper.resolve` returns.

use crate::call::raising;
use daxmap_core::{GuestAddress, Loan, Mapper};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

// A context manager: memory of the window is lent while its block runs.
#[pyclass(frozen, weakref, name = "_Loan", module = "daxmap._core")]
pub(crate) struct PyLoan {
    mapper: Arc<Mapper>,
    /// Keeps it from being dropped, and so drained.
    owner: Py<PyAny>,
    address: GuestAddress,
    length: u64,
    writable: bool,
    /// There while the block runs.
    loan: Mutex<Option<Loan>>,
}

impl PyLoan {
    pub(crate) fn new(mapper: Arc<Mapper>, owner: Py<PyAny>, address: u64, length: u64, writable: bool) -> Self {
        Self { mapper, owner, address: GuestAddress(address), length, writable, loan: Mutex::new(None) }
    }

    fn loan(&self) -> MutexGuard<'_, Option<Loan>> {
        self.loan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyLoan {
    fn __enter__(&self, py: Python<'_>) -> PyResult<Vec<(usize, u64)>> {
        let fresh = raising(py, &self.mapper, |mapper| mapper.resolve(self.address, self.length, self.writable))?;
        let pieces = fresh.pieces().iter().map(|piece| (piece.host_address, piece.length)).collect();
        let mut loan = self.loan();
        if loan.is_some() {
            return Err(PyRuntimeError::new_err("resolve(): the block runs already; call resolve() again for another"));
        }
        *loan = Some(fresh);
        Ok(pieces)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        let loan = self.loan().take();
        py.detach(|| drop(loan)); // which may free memory
    }

    // For those who forgot the block.
    #[allow(clippy::unused_self)]
    fn __iter__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("resolve() lends memory for a block: with mapper.resolve(...) as pieces"))
    }

    fn __repr__(&self) -> String {
        let state = if self.loan().is_some() { "lent" } else { "not lent" };
        format!("<resolve of [{}, +{:#x}): {state}>", self.address, self.length)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.owner)
    }
}
