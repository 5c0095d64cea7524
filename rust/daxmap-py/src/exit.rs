//! The interpreter's end, for threads that are in Python code which Rust has called.
//!
//! `CPython` before 3.14 ends every other thread that asks for the interpreter's lock then, by `pthread_exit(3)`. That
//! unwinds the thread's stack, and frames of Rust abort the process for it. `daxmap._exit` sees to it that no thread is
//! there any more; this module tells it which are, and lets none in afterwards.

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Taken with the interpreter attached, and so never held while `os.fork` makes a child.
static THREADS: Mutex<Threads> = Mutex::new(Threads { inside: Vec::new(), last: None });

/// Threads by `threading.get_ident`.
struct Threads {
    /// Those in Python code, one entry for each call of Rust's that they are in.
    inside: Vec<u64>,
    /// The one that ends the interpreter, once it does.
    last: Option<u64>,
}

thread_local! {
    /// The `threading.get_ident` of this thread; 0 until it is asked for.
    static IDENT: Cell<u64> = const { Cell::new(0) };
}

/// Stands for a call from Rust into Python code, as long as it is there. It goes before the interpreter is released.
pub(crate) struct Inside(u64);

/// To be held while Rust calls what may be Python code: callbacks, handlers of log records, `fileno` and the like.
///
/// On other threads than the last it is a `SystemExit` once the interpreter ends: Python would end the thread anyway.
pub(crate) fn enter(py: Python<'_>) -> PyResult<Inside> {
    let ident = ident(py)?;
    let mut threads = threads();
    if threads.last.is_some_and(|last| last != ident) {
        return Err(PySystemExit::new_err("the interpreter is shutting down"));
    }
    threads.inside.push(ident);
    Ok(Inside(ident))
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut threads = threads();
        if let Some(index) = threads.inside.iter().rposition(|ident| *ident == self.0) {
            threads.inside.swap_remove(index);
        }
    }
}

/// From now on, only the calling thread gets into Python code from Rust.
#[pyfunction]
#[pyo3(name = "_refuse_other_threads")]
pub(crate) fn refuse_other_threads(py: Python<'_>) -> PyResult<()> {
    let ident = ident(py)?;
    threads().last = Some(ident);
    Ok(())
}

/// The threads that are in Python code which Rust has called.
#[pyfunction]
#[pyo3(name = "_threads_inside")]
pub(crate) fn threads_inside() -> Vec<u64> {
    threads().inside.clone()
}

fn threads() -> MutexGuard<'static, Threads> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ident(py: Python<'_>) -> PyResult<u64> {
    let known = IDENT.get();
    if known != 0 {
        return Ok(known);
    }
    let ident = py.import("_thread")?.call_method0("get_ident")?.extract()?;
    IDENT.set(ident);
    Ok(ident)
}
