//! The core's log records, handed to Python's logger `daxmap`.
//!
//! A crate for this exists (pyo3-log), but it keeps levels of its own that a later `setLevel` doesn't reach, and it
//! panics once the interpreter shuts down.

use crate::exit;
use crate::interrupt::{got, in_destructor, ordinary};
use daxmap_core::{LOG_TARGET, printable_lines};
use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

const DEBUG: i32 = 10;
const WARNING: i32 = 30;
const ERROR: i32 = 40;

/// How many frames of a traceback are logged.
const INNERMOST: i32 = 20;

static TARGET: PyOnceLock<Target> = PyOnceLock::new();

struct Target {
    logger: Py<PyAny>,
    /// The dict in which `Logger.isEnabledFor` keeps its answers, and which `setLevel` clears, anywhere up the tree.
    cache: Option<Py<PyDict>>,
    /// The key of that dict.
    debug: Py<PyAny>,
}

/// Called once, when the module is imported. Python's `logging` is not imported before something is there to log.
pub(crate) fn install() {
    // Refused only where this interpreter imports the module once more: the bridge is there then.
    if log::set_logger(&Bridge).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// The logger. `None` where it cannot be had, which is no reason to fail.
fn target(py: Python<'_>) -> Option<&'static Target> {
    if let Some(target) = TARGET.get(py) {
        return Some(target);
    }
    let made = exit::enter(py).and_then(|_inside| {
        TARGET.get_or_try_init(py, || {
            let logging = py.import("logging")?;
            let logger = logging.call_method1("getLogger", (LOG_TARGET,))?;
            // Or else Python prints warnings of a program that has not said where records go.
            logger.call_method1("addHandler", (logging.call_method0("NullHandler")?,))?;
            let cache = logger.getattr("_cache").ok().and_then(|cache| cache.cast_into::<PyDict>().ok());
            let debug = DEBUG.into_pyobject(py)?.into_any().unbind();
            PyResult::Ok(Target { logger: logger.unbind(), cache: cache.map(Bound::unbind), debug })
        })
    });
    got(py, made)
}

/// Lets debug records through if, at this moment, the Python logger would. Called before each operation: on the usual
/// way it is one look into a dict.
pub(crate) fn refresh_level(py: Python<'_>) {
    let Some(target) = target(py) else { return };
    let cached = target.cache.as_ref().and_then(|cache| cache.bind(py).get_item(&target.debug).ok().flatten());
    let level = match cached {
        Some(answer) if answer.is(&*pyo3::types::PyBool::new(py, false)) => LevelFilter::Warn,
        Some(_) => LevelFilter::Debug,
        None => asked(py, target),
    };
    if log::max_level() != level {
        log::set_max_level(level);
    }
}

#[cold]
fn asked(py: Python<'_>, target: &Target) -> LevelFilter {
    let answer = exit::enter(py).and_then(|_inside| {
        let answer = target.logger.call_method1(py, "isEnabledFor", (&target.debug,))?;
        answer.is_truthy(py)
    });
    if got(py, answer) == Some(true) { LevelFilter::Debug } else { LevelFilter::Warn }
}

/// Logs an exception that the VMM's own code raised, with the end of its traceback. The text is made here, since
/// `logging` would put in whatever the exception says, a guest's bytes too, without bound.
pub(crate) fn log_exception(py: Python<'_>, text: &str, error: &PyErr) {
    let lines = got(py, traceback(py, error)).unwrap_or_default();
    log_text(py, ERROR, &format!("{text}{}", printable_lines(&lines)));
}

fn traceback(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let _inside = exit::enter(py)?;
    let limit = PyDict::new(py);
    limit.set_item("limit", -INNERMOST)?;
    // All three: before Python 3.12 the exception itself is not given its traceback.
    let exception = (error.get_type(py), error.value(py), error.traceback(py));
    let lines = py.import("traceback")?.call_method("format_exception", exception, Some(&limit))?;
    Ok(PyString::new(py, "").call_method1("join", (lines,))?.cast::<PyString>()?.to_string_lossy().into_owned())
}

/// Hands a record to the logger. A handler's exception harms no call, but one that is to end the program ends the call.
fn log_text(py: Python<'_>, level: i32, text: &str) {
    let Some(target) = target(py) else { return };
    let logged = exit::enter(py).and_then(|_inside| target.logger.call_method1(py, "log", (level, text)));
    if let Some(error) = logged.err().and_then(|error| ordinary(py, error)).filter(|_| !exit::has_begun()) {
        error.write_unraisable(py, Some(target.logger.bind(py)));
    }
}

struct Bridge;

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == LOG_TARGET
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = if record.level() <= Level::Warn { WARNING } else { DEBUG };
        // A record may come from a destructor. None while the interpreter shuts down: there is nobody left to read it.
        let _ = in_destructor(|py| log_text(py, level, &record.args().to_string()));
    }

    fn flush(&self) {}
}
