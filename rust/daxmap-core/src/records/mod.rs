//! Log records: the name they go by, how many of them a guest may cause, and what their text may hold.
//!
//! Nothing of this crate is imported here: every other module may log.

mod bucket;
mod text;

pub use bucket::Warnings;
pub use text::{printable, printable_lines};

/// The `log` target of every record: the name of the Python logger too.
pub const LOG_TARGET: &str = "daxmap";

/// Records let through at once: of warnings that a guest causes, and of what a mapper says when it closes.
const BURST: u32 = 10;

/// Logs, each after `label`, what went wrong while a mapper closed, which it does once: all of it up to a number of records, then how many
/// more there were. A guest that has used up its warnings keeps none of these back.
pub(crate) fn report(label: &str, notes: &[String]) {
    let (told, more) = notes.split_at(notes.len().min(BURST as usize));
    for note in told {
        log::warn!(target: LOG_TARGET, "{}", printable(&format!("{label}{note}")));
    }
    if !more.is_empty() {
        log::warn!(target: LOG_TARGET, "{}... and {} more like these", printable(label), more.len());
    }
}
