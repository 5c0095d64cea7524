//! What a share has with its guest, as `daxmap.DaxStatus` is made of it.

use daxmap_core::fuse::{Offer, Session};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The state, before any SETUPMAPPING, and its reason.
pub(crate) fn offer_of(session: &Session) -> (&'static str, String) {
    match session.offer() {
        None => ("waiting", "no INIT was negotiated yet".to_owned()),
        Some(Offer::Made) => ("offered", "no SETUPMAPPING came yet".to_owned()),
        Some(none) => ("not offered", none.to_string()),
    }
}

/// How many SETUPMAPPING requests succeeded, and how many of the others were told which errno.
pub(crate) fn setup_counts<'py>(py: Python<'py>, session: &Session) -> PyResult<(u64, Bound<'py, PyDict>)> {
    let refused = PyDict::new(py);
    for (errno, count) in session.outcomes().refused() {
        refused.set_item(errno, count)?;
    }
    Ok((session.outcomes().mapped(), refused))
}
