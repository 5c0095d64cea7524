//! The bytes of messages, taken out of whatever the VMM keeps them in.

use daxmap_core::fuse::{HEADER_SIZE, Header, LONGEST_BODY};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PySlice};
use std::borrow::Cow;

/// A request's header, and its other bytes.
pub(crate) type Message<'a> = (Header, Cow<'a, [u8]>);

/// Requests up to this length, in bytes, are copied whole; of a longer one, the body is copied only if it matters.
const SHORT: usize = 8192;

/// Reads a request; none if it does not concern DAX.
///
/// A buffer may be guest RAM, which changes while it is read. So no byte of it is read twice, and what was checked is
/// what is used. A `bytes` object does not change: it is the copy already.
pub(crate) fn read<'a>(request: &'a Bound<'_, PyAny>) -> PyResult<Option<Message<'a>>> {
    if let Ok(bytes) = request.cast::<PyBytes>() {
        return Ok(header(bytes.as_bytes()).map(|(header, body)| (header, Cow::Borrowed(body))));
    }
    let py = request.py();
    let (object, buffer) = flat(request)?;
    if buffer.item_count() <= SHORT {
        let message = buffer.to_vec(py)?;
        return Ok(header(&message).map(|(header, body)| (header, Cow::Owned(body.to_vec()))));
    }
    let view = PyMemoryView::from(&object)?;
    let head = part(&view, 0, HEADER_SIZE)?;
    let Some((header, _)) = header(&head) else { return Ok(None) };
    // A body that is too long stays too long when it is cut there.
    let body = part(&view, HEADER_SIZE, HEADER_SIZE.saturating_add(LONGEST_BODY).saturating_add(1))?;
    Ok(Some((header, Cow::Owned(body))))
}

/// A copy of a reply's bytes; a `bytes` object is one already.
pub(crate) fn bytes<'py>(reply: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = reply.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    Ok(PyMemoryView::from(reply)?.call_method0("tobytes")?.cast_into()?)
}

/// The header at the start of a message that concerns DAX, and what follows it.
fn header(message: &[u8]) -> Option<(Header, &[u8])> {
    Header::parse(message).filter(|(header, _)| header.concerns_dax())
}

/// The bytes of an object in one row, and the object that has them: itself, or a copy if its items are no bytes.
fn flat<'py>(object: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, PyBuffer<u8>)> {
    match PyBuffer::get(object) {
        Ok(buffer) if buffer.dimensions() == 1 => Ok((object.clone(), buffer)),
        _ => {
            // By way of a memoryview, since `bytearray(5)` is no error.
            let view = PyMemoryView::from(object)?;
            let copy = PyByteArray::from(&view)?.into_any();
            let buffer = PyBuffer::get(&copy)?;
            Ok((copy, buffer))
        }
    }
}

fn part(view: &Bound<'_, PyMemoryView>, from: usize, to: usize) -> PyResult<Vec<u8>> {
    let slice = PySlice::new(view.py(), from.try_into()?, to.try_into()?, 1);
    PyBuffer::get(&view.get_item(slice)?)?.to_vec(view.py())
}
