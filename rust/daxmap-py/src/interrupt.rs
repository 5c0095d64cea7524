//! Exceptions that end a program, not a request: `KeyboardInterrupt`, `SystemExit`, whatever is no `Exception`.
//!
//! Python code that a call runs on its way may raise one: a callback, or a handler of log records. The call can't end
//! there and then, since book and guest would differ. So the exception is kept, and raised when the call is over.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use std::cell::{Cell, RefCell};

/// What the innermost call under way on this thread has to raise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// There is no call.
    None,
    Nothing,
    /// The last of [`KEPT`].
    Kept,
}

thread_local! {
    /// Apart from what is kept, since this is looked at in each call, and that hardly ever.
    static CALL: Cell<Call> = const { Cell::new(Call::None) };
    /// The first exception of each call under way that has one, the innermost last.
    static KEPT: RefCell<Vec<PyErr>> = const { RefCell::new(Vec::new()) };
}

/// Makes a call, and raises after it what was kept meanwhile, in place of what it gives. What an outer call on this
/// thread has to raise stays that call's: a callback, or a handler of log records, may use a mapper too.
pub(crate) fn raised_after<T>(call: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let outer = CALL.replace(Call::Nothing);
    let result = call();
    match CALL.replace(outer) {
        Call::Kept => KEPT.with_borrow_mut(Vec::pop).map_or(result, Err),
        Call::None | Call::Nothing => result,
    }
}

/// Keeps `error` for the end of the call under way, if it is the first. Where there is none, in a destructor, it can only
/// be shown.
fn keep(py: Python<'_>, error: PyErr) {
    match CALL.get() {
        Call::None => error.write_unraisable(py, None),
        Call::Nothing => {
            KEPT.with_borrow_mut(|kept| kept.push(error));
            CALL.set(Call::Kept);
        }
        Call::Kept => {}
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

/// Does something in a destructor, which may run while an exception is on its way: that is put aside meanwhile, since it
/// would be taken for one of what is done, and lost. `None` while the interpreter shuts down.
pub(crate) fn in_destructor<T>(act: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    Python::try_attach(|py| {
        let pending = PyErr::take(py);
        let done = act(py);
        if let Some(pending) = pending {
            pending.restore(py);
        }
        done
    })
}

/// Whether a signal handler ends the wait for a mapper's lock by what it raises: Ctrl-C does. Python runs handlers on
/// the main thread alone.
pub(crate) fn stops_waiting() -> bool {
    Python::try_attach(|py| py.check_signals().map_err(|error| keep(py, error)).is_err()).unwrap_or(false)
}
