//! Python's buffers as a guest's memory: the one place in this crate with `unsafe` code.
#![allow(unsafe_code)]

use daxmap_virtiofs::GuestSlice;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// The bytes of a buffer, to read a request from, or, where `to_write`, to put a reply into. The guest, and other threads,
/// may change them meanwhile.
pub(crate) fn guest_slice(buffer: &PyBuffer<u8>, to_write: bool) -> PyResult<GuestSlice<'_>> {
    if to_write && buffer.readonly() {
        return Err(PyBufferError::new_err("a buffer for a reply is read-only"));
    }
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err("a buffer is not contiguous"));
    }
    // SAFETY: the exporter keeps these bytes in place while `buffer` is there, which is borrowed. They are one row, readable,
    // and writable where that is asked for. A `GuestSlice` makes no reference to them, and copies each byte once.
    Ok(unsafe { GuestSlice::from_raw(buffer.buf_ptr().cast(), buffer.len_bytes()) })
}
