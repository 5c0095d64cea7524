//! The interpreter's end, for threads that are in Python code which Rust has called.
//!
//! `CPython` before 3.14 ends every other thread that asks for the interpreter's lock then, by `pthread_exit(3)`. That
//! unwinds the thread's stack, and frames of Rust abort the process for it. `daxmap._exit` sees to it that no thread is
//! there any more; this module tells it which are, and lets none in afterwards.

use crate::docs::docstring;
use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use std::cell::OnceCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A thread, by `threading.get_ident`.
struct Thread {
    ident: u64,
    /// In how many calls from Rust into Python code it is.
    depth: AtomicUsize,
}

/// The threads that ever were in such a call. Taken with the interpreter attached, and so never held while `os.fork`
/// makes a child.
static THREADS: Mutex<Vec<Weak<Thread>>> = Mutex::new(Vec::new());

/// The thread that ends the interpreter, once it does; 0 before.
static LAST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread.
    static THREAD: OnceCell<Arc<Thread>> = const { OnceCell::new() };
}

/// Stands for a call from Rust into Python code, as long as it is there. It goes before the interpreter is released, on
/// the thread that made it.
pub(crate) struct Inside {
    _of_one_thread: PhantomData<*const ()>,
}

/// Whether the interpreter ends: what logging needs may be gone by now.
pub(crate) fn has_begun() -> bool {
    LAST.load(SeqCst) != 0
}

/// To be held while Rust calls what may be Python code: callbacks, handlers of log records, `fileno` and the like.
///
/// On other threads than the last it is a `SystemExit` once the interpreter ends: Python would end the thread anyway.
pub(crate) fn enter(py: Python<'_>) -> PyResult<Inside> {
    THREAD.with(|thread| {
        let thread = if let Some(thread) = thread.get() {
            thread
        } else {
            let known = register(py)?;
            thread.get_or_init(|| known)
        };
        // First this, then the look for the end. The end is declared first, and then looks at this.
        thread.depth.fetch_add(1, SeqCst);
        let inside = Inside { _of_one_thread: PhantomData };
        let last = LAST.load(SeqCst);
        if last != 0 && last != thread.ident {
            return Err(PySystemExit::new_err("the interpreter is shutting down"));
        }
        Ok(inside)
    })
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Fails once the thread's locals are gone, and then nobody looks at them any more.
        let _ = THREAD.try_with(|thread| thread.get().map(|thread| thread.depth.fetch_sub(1, SeqCst)));
    }
}

#[doc = docstring!(_refuse_other_threads)]
#[pyfunction]
#[pyo3(name = "_refuse_other_threads")]
pub(crate) fn refuse_other_threads(py: Python<'_>) -> PyResult<()> {
    LAST.store(ident(py)?, SeqCst);
    Ok(())
}

#[doc = docstring!(_threads_inside)]
#[pyfunction]
#[pyo3(name = "_threads_inside")]
pub(crate) fn threads_inside() -> Vec<u64> {
    let threads = threads();
    let living = threads.iter().filter_map(Weak::upgrade);
    living.filter(|thread| thread.depth.load(SeqCst) > 0).map(|thread| thread.ident).collect()
}

fn register(py: Python<'_>) -> PyResult<Arc<Thread>> {
    let thread = Arc::new(Thread { ident: ident(py)?, depth: AtomicUsize::new(0) });
    let mut threads = threads();
    threads.retain(|thread| thread.strong_count() > 0);
    threads.push(Arc::downgrade(&thread));
    Ok(thread)
}

fn threads() -> MutexGuard<'static, Vec<Weak<Thread>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ident(py: Python<'_>) -> PyResult<u64> {
    py.import("_thread")?.call_method0("get_ident")?.extract()
}
