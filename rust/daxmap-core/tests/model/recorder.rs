//! A backend that shows nothing to anyone, but keeps its own book, fails when it is told to, and checks that the mapper
//! asks for nothing that the trait rules out.

use crate::attempts::{Attempts, Kind, Verdict};
use daxmap_core::{Backend, Errno, Failure, Mapping, Placement, Refusal, Span, Window, WindowOffset};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) const WINDOW_VMAS: u64 = 3;
pub(crate) const MAPPING_VMAS: u64 = 2;

/// What the backend and the test both look at.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) shown: BTreeMap<u64, Mapping>,
    /// What is to come of the next calls; those after that succeed.
    pub(crate) plan: VecDeque<Verdict>,
    pub(crate) attempts: Attempts,
    pub(crate) closed: bool,
    window: Window,
    abandoned: Option<Span>,
}

impl Book {
    fn verdict(&mut self, span: Span) -> Verdict {
        assert!(!self.closed, "called after it was closed");
        assert!(span.end() <= self.window.whole().end());
        assert!((span.start().0 | span.length()).is_multiple_of(self.window.page_size()));
        if self.abandoned.is_some_and(|abandoned| abandoned.overlaps(span)) {
            return Verdict::Refused(libc::EIO);
        }
        let verdict = self.plan.pop_front().unwrap_or(Verdict::Done);
        if verdict == Verdict::GaveUp {
            self.abandoned = Some(span);
            self.attempts.give_up();
        }
        if !matches!(verdict, Verdict::Done | Verdict::Refused(_)) {
            self.shown.retain(|_, mapping| !mapping.span.overlaps(span));
        }
        verdict
    }

    fn overlapping(&self, span: Span) -> Vec<Mapping> {
        self.shown.values().filter(|mapping| mapping.span.overlaps(span)).copied().collect()
    }
}

fn result(verdict: Verdict) -> Result<(), Failure> {
    let refusal = |errno| Refusal::from(Errno(errno));
    match verdict {
        Verdict::Done => Ok(()),
        Verdict::Refused(errno) => Err(Failure::Refused(refusal(errno))),
        Verdict::Emptied(errno) => Err(Failure::Emptied(refusal(errno))),
        Verdict::GaveUp => Err(Failure::GaveUp(refusal(libc::ENXIO))),
    }
}

#[derive(Debug)]
pub(crate) struct Recorder {
    book: Arc<Mutex<Book>>,
    unmaps_many: bool,
}

impl Recorder {
    pub(crate) fn new(window: &Window, unmaps_many: bool) -> (Self, Arc<Mutex<Book>>) {
        let book = Arc::new(Mutex::new(Book {
            shown: BTreeMap::new(),
            plan: VecDeque::new(),
            attempts: Attempts::default(),
            closed: false,
            window: *window,
            abandoned: None,
        }));
        (Self { book: Arc::clone(&book), unmaps_many }, book)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn show(&self, kind: Kind, placement: &Placement) -> Result<(), Failure> {
        let mut book = self.book();
        let mapping = Mapping::from(placement);
        let verdict = book.verdict(placement.span);
        if verdict == Verdict::Done {
            book.shown.insert(placement.span.start().0, mapping);
        }
        book.attempts.push(kind, mapping, verdict);
        result(verdict)
    }
}

impl Backend for Recorder {
    fn host_address(&self) -> Option<usize> {
        None
    }

    fn vmas_of_window(&self) -> u64 {
        WINDOW_VMAS
    }

    fn vmas_per_mapping(&self) -> u64 {
        MAPPING_VMAS
    }

    fn unmaps_many(&self) -> bool {
        self.unmaps_many
    }

    fn map(&mut self, placement: &Placement) -> Result<(), Failure> {
        assert_eq!(self.book().overlapping(placement.span), [], "a file is shown over another");
        self.show(Kind::Map, placement)
    }

    fn upgrade(&mut self, placement: &Placement) -> Result<(), Failure> {
        let before = Mapping { writable: false, ..Mapping::from(placement) };
        assert!(placement.writable);
        assert_eq!(self.book().overlapping(placement.span), [before]);
        self.show(Kind::Upgrade, placement)
    }

    fn unmap(&mut self, span: Span, mappings: &[Mapping]) -> Result<(), Failure> {
        let mut book = self.book();
        if book.abandoned.is_none() {
            assert_eq!(book.overlapping(span), mappings);
        }
        let single = mappings.len() == 1 && mappings[0].span == span;
        assert!(single || self.unmaps_many, "{span} is no mapping's own");
        let verdict = book.verdict(span);
        if verdict == Verdict::Done {
            book.shown.retain(|_, mapping| !mapping.span.overlaps(span));
        }
        // What is refused for many is tried again, one by one: that counts.
        if single || matches!(verdict, Verdict::Done | Verdict::Emptied(_)) {
            for mapping in mappings {
                book.attempts.push(Kind::Unmap, *mapping, verdict);
            }
        }
        result(verdict)
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

    fn close(self: Box<Self>) -> Result<(), Refusal> {
        let mut book = self.book();
        assert!(!book.closed, "closed twice");
        book.closed = true;
        Ok(())
    }
}
