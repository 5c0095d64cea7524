//! What a front end makes of a window.

/// What a front end can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // four questions, four answers
pub struct Abilities {
    /// Shows a range that reaches past the end of its file; the pages appear when the file grows.
    pub past_end: bool,
    /// Shows a range where another is shown, in its place.
    pub replaces: bool,
    /// Takes a descriptor that is open for reading only. Where it does not, whatever is shown may be written by the guest:
    /// it looks at the descriptor, not at what it is told.
    pub read_only: bool,
    /// The most that can be shown at once, if each takes one of the memory slots that a front end has for a device.
    pub slots: Option<u64>,
}
