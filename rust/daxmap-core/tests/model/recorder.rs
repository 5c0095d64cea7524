//! A backend that shows nothing to anyone, but keeps its own book, fails when it is told to, and checks that the mapper
//! asks for nothing that the trait rules out.

use daxmap_core::{Backend, Change, Charge, Errno, Failure, FileOffset, Mapping, Refusal, Span, Window, WindowOffset};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) const WINDOW_VMAS: u64 = 3;
pub(crate) const MAPPING_VMAS: u64 = 2;

/// What comes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Unchanged,
    /// The old mappings whose bit is set are gone, whole; or, with no bit set, the span is.
    Lost {
        whole: u8,
        new_is_unknown: bool,
    },
    OutOfControl,
}

/// What kind of backend it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) at_once: bool,
    /// Whether closing takes all from the guest.
    pub(crate) closing_frees: bool,
}

/// What the backend and the test both look at.
#[derive(Debug)]
pub(crate) struct Book {
    /// By rising window offset.
    pub(crate) shown: Vec<Mapping>,
    pub(crate) unknown: Vec<Span>,
    /// What is to come of the next calls; those after that succeed.
    pub(crate) plan: VecDeque<Verdict>,
    /// Whether a call failed.
    pub(crate) failed: bool,
    /// Entries of which a failure said that they are lost.
    pub(crate) lost: u64,
    pub(crate) closed: bool,
    /// The charge for what closing did not take from the guest.
    pub(crate) kept: Option<Charge>,
    window: Window,
    pub(crate) out_of_control: Option<Span>,
}

impl Book {
    fn asked(&self, span: Span) {
        assert!(!self.closed, "called after it was closed");
        assert!(self.window.whole().contains(span));
        assert!((span.start().0 | span.length()).is_multiple_of(self.window.page_size()));
    }

    fn next(&mut self) -> Verdict {
        let verdict = self.plan.pop_front().unwrap_or(Verdict::Done);
        self.failed |= verdict != Verdict::Done;
        verdict
    }

    fn overlapping(&self, span: Span) -> Vec<Mapping> {
        self.shown.iter().filter(|mapping| mapping.span.overlaps(span)).copied().collect()
    }

    /// Takes `span` out of all that is shown; returns how many entries are gone.
    fn cut(&mut self, span: Span) -> u64 {
        let (touched, mut left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.shown).into_iter().partition(|mapping| mapping.span.overlaps(span));
        let mut gone = 0;
        for mapping in touched {
            let pieces: Vec<_> = mapping.span.without(span).collect();
            gone += u64::from(pieces.is_empty());
            left.extend(pieces.into_iter().map(|piece| {
                let file_offset = FileOffset(mapping.file_offset.0 + piece.start().0 - mapping.span.start().0);
                Mapping { span: piece, file_offset, ..mapping }
            }));
        }
        left.sort_by_key(|mapping| mapping.span.start());
        self.shown = left;
        gone
    }

    fn change(&mut self, change: &Change<'_>) -> Result<(), Failure> {
        let span = change.span;
        if self.out_of_control.is_some_and(|lost| lost.overlaps(span)) {
            return Err(Failure::Unchanged(refusal()));
        }
        match self.next() {
            Verdict::Done => {
                self.cut(span);
                if let Some(new) = change.new {
                    self.unknown.retain(|unknown| !unknown.overlaps(span));
                    self.shown.push(new.into());
                    self.shown.sort_by_key(|mapping| mapping.span.start());
                }
                Ok(())
            }
            Verdict::Unchanged => Err(Failure::Unchanged(refusal())),
            Verdict::Lost { whole, new_is_unknown } => {
                let chosen = (0..8).zip(change.old).filter(|(bit, _)| whole >> bit & 1 == 1);
                let mut gone: Vec<_> = chosen.map(|(_, mapping)| mapping.span).collect();
                if gone.is_empty() && !change.old.is_empty() {
                    gone.push(span);
                }
                for range in &gone {
                    self.lost += self.cut(*range);
                }
                // What is shown is not unknown.
                let mut unknown: Vec<_> = change.new.iter().map(|new| new.span).filter(|_| new_is_unknown).collect();
                for live in &self.shown {
                    unknown = unknown.into_iter().flat_map(|range| range.without(live.span)).collect();
                }
                let new_is_unknown = !unknown.is_empty();
                self.lost += u64::from(new_is_unknown);
                self.unknown.extend(unknown);
                if gone.is_empty() && !new_is_unknown {
                    return Err(Failure::Unchanged(refusal()));
                }
                Err(Failure::Lost { cause: refusal(), gone, new_is_unknown })
            }
            Verdict::OutOfControl => {
                self.lost += self.cut(span);
                self.out_of_control = Some(span);
                Err(Failure::OutOfControl(refusal()))
            }
        }
    }
}

fn refusal() -> Refusal {
    Errno(libc::ENXIO).into()
}

#[derive(Debug)]
pub(crate) struct Recorder {
    book: Arc<Mutex<Book>>,
    kind: Kind,
}

impl Recorder {
    pub(crate) fn new(window: &Window, kind: Kind) -> (Self, Arc<Mutex<Book>>) {
        let book = Arc::new(Mutex::new(Book {
            shown: Vec::new(),
            unknown: Vec::new(),
            plan: VecDeque::new(),
            failed: false,
            lost: 0,
            closed: false,
            kept: None,
            window: *window,
            out_of_control: None,
        }));
        (Self { book: Arc::clone(&book), kind }, book)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Recorder {
    fn vmas_of_window(&self) -> u64 {
        WINDOW_VMAS
    }

    fn vmas_per_mapping(&self) -> u64 {
        MAPPING_VMAS
    }

    fn changes_at_once(&self) -> bool {
        self.kind.at_once
    }

    fn change(&mut self, change: &Change<'_>, _notes: &mut Vec<String>) -> Result<(), Failure> {
        if std::thread::panicking() {
            return Ok(()); // a test that failed drops its mapper
        }
        let mut book = self.book();
        book.asked(change.span);
        assert_eq!(change.old, book.overlapping(change.span));
        match change.new {
            Some(new) => assert_eq!(new.span, change.span),
            None => assert!(self.kind.at_once || change.old.len() == 1, "a removal of many"),
        }
        book.change(change)
    }

    fn settle(&mut self, span: Span, _notes: &mut Vec<String>) -> Result<(), Refusal> {
        let mut book = self.book();
        book.asked(span);
        if !book.unknown.iter().any(|unknown| unknown.overlaps(span)) {
            return Ok(());
        }
        if book.next() != Verdict::Done {
            return Err(refusal());
        }
        book.unknown.retain(|unknown| !unknown.overlaps(span));
        Ok(())
    }

    fn unsettled(&self) -> u64 {
        self.book().unknown.len() as u64
    }

    fn is_out_of_control(&self) -> bool {
        self.book().out_of_control.is_some()
    }

    /// Each byte is the low one of its page's number.
    fn read(&self, offset: WindowOffset, buffer: &mut [u8]) -> Result<(), Errno> {
        let page = self.book().window.page_size();
        (offset.0..).zip(buffer).for_each(|(at, byte)| *byte = (at / page).to_le_bytes()[0]);
        Ok(())
    }

    fn write(&self, offset: WindowOffset, data: &[u8]) -> Result<(), Errno> {
        let span = Span::new(offset, data.len() as u64).unwrap();
        assert!(self.book().overlapping(span).iter().all(|mapping| mapping.writable));
        Ok(())
    }

    fn close(self: Box<Self>, charge: Charge, _notes: &mut Vec<String>) -> bool {
        let mut book = self.book();
        assert!(!book.closed, "closed twice");
        book.closed = true;
        if !self.kind.closing_frees {
            book.kept = Some(charge);
        }
        self.kind.closing_frees
    }
}
