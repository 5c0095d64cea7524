//! `daxmap.reopen`: an open file of an inode that is held by an `O_PATH` descriptor.

use crate::argument;
use crate::convert::Fd;
use crate::docs::docstring;
use crate::error::open_error;
use daxmap_core::{Errno, OpenError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use std::os::fd::{AsRawFd, IntoRawFd};

#[doc = docstring!(reopen)]
#[pyfunction]
pub(crate) fn reopen(
    py: Python<'_>,
    #[pyo3(from_py_with = argument::path_fd)] path_fd: Fd,
    #[pyo3(from_py_with = argument::writable)] writable: bool,
) -> PyResult<Bound<'_, PyAny>> {
    static FILE_IO: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let file_io = FILE_IO.import(py, "io", "FileIO")?;
    let file = loop {
        match py.detach(|| opened(path_fd.0, writable)) {
            Err(OpenError::Refused { errno: Errno(libc::EINTR), .. }) => py.check_signals()?,
            done => break done.map_err(open_error)?,
        }
    };
    let object = file_io.call1((file.as_raw_fd(), if writable { "r+" } else { "r" }))?;
    let _ = file.into_raw_fd(); // it is the object's now
    Ok(object)
}

#[cfg(target_os = "linux")]
use daxmap_core::reopen as opened;

#[cfg(not(target_os = "linux"))]
fn opened(_path_fd: std::os::fd::RawFd, _writable: bool) -> Result<std::os::fd::OwnedFd, OpenError> {
    Err(OpenError::refused("reopen needs Linux".to_owned(), Errno(libc::ENOTSUP)))
}
