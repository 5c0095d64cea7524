//! What a share has with its guest, as `daxmap.DaxStatus` is made of it.

use daxmap_core::fuse::{Offer, Session};
use daxmap_core::{Mapper, Warnings};
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

/// How many SETUPMAPPING requests succeeded, how many of the others were told which errno, and the last warning.
pub(crate) type SetupCounts<'py> = (u64, Bound<'py, PyDict>, Option<String>);

/// Of a share, and of its mapper if that is ours.
pub(crate) fn setup_counts<'py>(
    py: Python<'py>,
    session: &Session,
    mapper: Option<&Mapper>,
) -> PyResult<SetupCounts<'py>> {
    let last = [Some(session.warnings()), mapper.map(Mapper::warnings)].into_iter().flatten();
    let last = last.filter_map(Warnings::last).max().map(|(_, text)| text);
    let refused = PyDict::new(py);
    for (errno, count) in session.outcomes().refused() {
        refused.set_item(errno, count)?;
    }
    Ok((session.outcomes().mapped(), refused, last))
}
