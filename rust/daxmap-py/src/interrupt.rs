//! Exceptions that end a program, not a request: `KeyboardInterrupt`, `SystemExit`, whatever is no `Exception`.
//!
//! Python code that a call runs on its way may raise one: a callback, or whoever handles a log record. The call can't end
//! there and then, since book and guest would differ. So the exception is kept, and raised when the call is over.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::cell::RefCell;

thread_local! {
    /// What the innermost call under way on this thread has to raise; `None` while there is no call.
    static CALL: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// The first exception that was kept.
#[derive(Default)]
struct Kept(Option<PyErr>);

/// Makes a call, and raises after it what was kept meanwhile, in place of what it gives. What an outer call on this
/// thread has to raise stays that call's: a callback, or whoever handles a log record, may use a mapper too.
pub(crate) fn raised_after<T>(call: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let outer = CALL.replace(Some(Kept::default()));
    let result = call();
    match CALL.replace(outer) {
        Some(Kept(Some(error))) => Err(error),
        _ => result,
    }
}

/// Keeps `error` for the end of the call under way. Where there is none, in a destructor, it can only be shown.
fn keep(py: Python<'_>, error: PyErr) {
    let left = CALL.with_borrow_mut(|call| match call {
        Some(kept) => {
            kept.0.get_or_insert(error);
            None
        }
        None => Some(error),
    });
    if let Some(error) = left {
        error.write_unraisable(py, None);
    }
}

/// Keeps what is no `Exception`, and gives back what is one.
pub(crate) fn ordinary(py: Python<'_>, error: PyErr) -> Option<PyErr> {
    if error.is_instance_of::<PyException>(py) {
        return Some(error);
    }
    keep(py, error);
    None
}

/// What was got, if it could be; an exception matters only if it is no `Exception`.
pub(crate) fn got<T>(py: Python<'_>, result: PyResult<T>) -> Option<T> {
    result.map_err(|error| ordinary(py, error)).ok()
}

/// Whether a signal handler ends the wait for a mapper's lock by what it raises: Ctrl-C does. Python runs handlers on
/// the main thread alone.
pub(crate) fn stops_waiting() -> bool {
    Python::try_attach(|py| py.check_signals().map_err(|error| keep(py, error)).is_err()).unwrap_or(false)
}
