//! What a range of the window is made of.

use super::abilities::Abilities;
use super::copies::Copied;
use daxmap_core::{Pin, Span};
use std::sync::Arc;

/// What a piece is a piece of.
#[derive(Debug)]
pub(super) enum Kind {
    File,
    Copy(Copied),
}

/// A part of a range that the front end has been told to show by one call.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where in the window it starts.
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) kind: Kind,
}

/// A range that the front end shows, or that is on its way there or back.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) span: Span,
    pub(super) source: Arc<Pin>,
    /// Where in the file the range starts.
    pub(super) file_offset: u64,
    /// Whether the guest has asked to store to it.
    pub(super) writable: bool,
    /// By rising start.
    pub(super) pieces: Vec<Piece>,
}

impl Shown {
    /// Where in the file a byte of the window lies.
    pub(super) fn file_offset_at(&self, window_offset: u64) -> u64 {
        self.file_offset.saturating_add(window_offset.saturating_sub(self.span.start().0))
    }

    pub(super) fn copies(&self) -> usize {
        self.pieces.iter().filter(|piece| matches!(piece.kind, Kind::Copy(_))).count()
    }

    /// Whether the front end takes the descriptor that there is.
    pub(super) fn is_shown_by(source: &Pin, abilities: &Abilities) -> bool {
        abilities.read_only || source.key().1
    }

    /// The pieces that a range has of a file of `size` bytes, none of them shown yet. One that shows no byte past the
    /// end never gets an empty file: QEMU would make it as long as the range.
    pub(super) fn plan(&self, size: u64, page: u64, abilities: &Abilities) -> Vec<Piece> {
        let (start, length) = (self.span.start().0, self.span.length());
        let whole = if !Self::is_shown_by(&self.source, abilities) {
            0
        } else if abilities.past_end {
            length
        } else {
            let pages = size.saturating_sub(self.file_offset).checked_div(page).unwrap_or(0);
            pages.saturating_mul(page).min(length)
        };
        let of_file = Piece { start, length: whole, kind: Kind::File };
        let rest = length.saturating_sub(whole);
        let of_copy = Piece { start: start.saturating_add(whole), length: rest, kind: Kind::Copy(Copied::default()) };
        [of_file, of_copy].into_iter().filter(|piece| piece.length > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;
    use daxmap_core::{FileId, Pins, WindowOffset};
    use std::fs::File;

    /// A range of a file that no test reads.
    fn shown(start: u64, end: u64, file_offset: u64) -> Shown {
        let file = FileId { dev: 1, ino: 2 };
        let open = || Ok(File::open("/dev/null").unwrap().into());
        let source = Pins::default().pin_with(file, true, open).unwrap();
        let span = Span::new(WindowOffset(start), end - start).unwrap();
        Shown { span, source, file_offset, writable: true, pieces: Vec::new() }
    }

    #[test]
    fn pieces_are_their_models() {
        let abilities = Abilities { past_end: false, replaces: true, read_only: true, slots: None };
        check("shown_plan", |[start, end, file_offset, size, page]| {
            let pieces = shown(start, end, file_offset).plan(size, page, &abilities).into_iter();
            pieces.flat_map(|piece| [piece.start, piece.length, u64::from(matches!(piece.kind, Kind::Copy(_)))])
        });
        check("file_offset_at", |[start, end, file_offset, offset]| {
            [shown(start, end, file_offset).file_offset_at(offset)]
        });
    }
}
