//! One range of host addresses that is the window: reserved once, files placed in it by `MAP_FIXED`.

use super::slots::Slots;
use super::{Backend, Failure, Placement};
use crate::addr::{Span, WindowOffset};
use crate::budget::Budget;
use crate::error::OpenError;
use crate::refusal::Refusal;
use crate::sys::{Errno, FileRange, HoleKind, Reservation, Seen, Shown, compare, lacks_access};
use crate::table::Mapping;
use crate::window::Window;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Alignment of the window's host address: that of the largest page a guest's page tables and the host's share.
const ALIGNMENT: usize = 2 << 20;

/// The addresses a process can have: 47 bits on `x86_64` (`Documentation/arch/x86/x86_64/mm.rst`), 48 elsewhere.
const ADDRESS_SPACE: u64 = 1 << if cfg!(target_arch = "x86_64") { 47 } else { 48 };

/// How much of what is left of the process's VMAs a window may take so that its holes don't merge: a quarter.
const SHARE_OF_BUDGET: u64 = 4;

/// The window's host addresses, as whoever has them works on them.
#[derive(Debug)]
pub(super) struct Region {
    reservation: Reservation,
    window: Window,
    /// `None` where holes merge: in windows with too many slots for a VMA each.
    slots: Option<Slots>,
    /// Devices of which a file was mapped already, and how; false where another could not be. A mapping of any other may
    /// fail in ways that hurt.
    trusted: BTreeMap<(u64, bool), bool>,
    /// Where memory of others may lie.
    abandoned: Option<Span>,
}

impl Region {
    pub(super) fn reserve(window: &Window) -> Result<Box<Self>, OpenError> {
        let size = window.size();
        let length = usize::try_from(size).ok().filter(|_| size < ADDRESS_SPACE).ok_or_else(|| {
            OpenError::Invalid(format!("window size {size:#x} is larger than a process's address space"))
        })?;
        let refused = |errno| OpenError::Refused {
            what: format!("reserving {size:#x} bytes of addresses for the window"),
            errno,
        };
        let reservation = Reservation::new(length, ALIGNMENT).map_err(refused)?;
        let (slots, trusted, abandoned) = (None, BTreeMap::new(), None);
        let mut region = Box::new(Self { reservation, window: *window, slots, trusted, abandoned });
        let apart = Slots::count(size) <= Budget::of_process().left() / SHARE_OF_BUDGET;
        if apart && region.keep_holes_apart().is_err() {
            // Nobody points at it yet: should the host keep it, a range of addresses is all that is lost.
            let _ = region.release();
            return Err(refused(Errno(libc::ENOMEM)));
        }
        Ok(region)
    }

    /// From now on, the holes of neighbouring slots don't merge.
    fn keep_holes_apart(&mut self) -> Result<(), Failure> {
        let slots = self.slots.insert(Slots::new(self.window.size()));
        slots.odd().try_for_each(|slot| self.clear(slot, &[]))
    }

    fn vmas(&self) -> u64 {
        if self.slots.is_some() { Slots::count(self.window.size()) } else { 1 }
    }

    pub(super) fn address(&self) -> usize {
        self.reservation.range().start()
    }

    /// Places a file in a range that shows `before`.
    fn place(&mut self, placement: &Placement, before: Shown) -> Result<(), Failure> {
        let range = self.range(placement.span)?;
        let Placement { span, fd, file_offset, writable, .. } = *placement;
        let file = FileRange { fd, offset: file_offset.0, length: range.len() };
        let device = (placement.file.dev, writable);
        if !self.trusted.get(&device).copied().unwrap_or(false) {
            file.probe(writable).map_err(|errno| Failure::Refused(errno.into()))?;
            self.trusted.entry(device).or_insert(true);
        }
        let offset = span.start().0;
        self.reservation.place(offset, &file, writable).map_err(|errno| {
            if errno.0 == libc::EACCES && lacks_access(fd, writable) {
                return Failure::Refused(errno.into()); // told before anything was touched: the common refusal is cheap
            }
            let failure = self.settle(span, errno.into(), [(range, before)]);
            if !matches!(failure, Failure::Refused(_)) {
                self.trusted.insert(device, false); // or a guest could try until memory of others is in the gap
            }
            failure
        })
    }

    fn populate(&mut self, span: Span) {
        if let Ok(range) = self.range(span) {
            self.reservation.populate(span.start().0, range.len());
        }
    }

    fn clear(&mut self, span: Span, mappings: &[Mapping]) -> Result<(), Failure> {
        let kind = self.hole_kind(span);
        let length = self.range(span)?.len();
        self.reservation.clear(span.start().0, length, kind).map_err(|errno| {
            let before = self.expectation(span, mappings);
            self.settle(span, Refusal::io(errno), before)
        })?;
        self.even_out(span, kind)
    }

    /// The kind of hole that `span` is to become.
    fn hole_kind(&self, span: Span) -> HoleKind {
        self.slots.as_ref().map_or(HoleKind::Plain, |slots| slots.kind(span))
    }

    /// Sees to it that each slot has holes of one kind, now that `span` is one of that kind.
    fn even_out(&mut self, span: Span, kind: HoleKind) -> Result<(), Failure> {
        let Some(slots) = &mut self.slots else { return Ok(()) };
        for part in slots.cleared(span, kind).into_iter().flatten() {
            let range = self.range(part)?;
            if let Err(errno) = self.reservation.clear(part.start().0, range.len(), HoleKind::Distinct) {
                // A hole it is, of whichever kind, or the region is lost.
                if let gave_up @ Failure::GaveUp(_) = self.settle(part, Refusal::io(errno), [(range, Shown::Hole)]) {
                    return Err(gave_up);
                }
            }
        }
        Ok(())
    }

    /// Finds out, and mends, what an `mmap` left that failed over `span`, where `before` was shown.
    ///
    /// The kernel may refuse before it touched anything, or after it removed what was there. In the second case the
    /// addresses are free for every thread's next `mmap`, so they are taken back at once, if nobody was quicker.
    fn settle(
        &mut self,
        span: Span,
        cause: Refusal,
        before: impl IntoIterator<Item = (Range<usize>, Shown), IntoIter: Clone>,
    ) -> Failure {
        let Ok(range) = self.range(span) else { return Failure::Refused(cause) };
        let kind = self.hole_kind(span);
        if self.reservation.refill(span.start().0, range.len(), kind).is_ok() {
            self.even_out(span, kind).err().unwrap_or(Failure::Emptied(cause))
        } else if compare(before) == Seen::AsExpected {
            Failure::Refused(cause)
        } else {
            self.abandoned = Some(self.abandoned.map_or(span, |before| before.hull(span)));
            Failure::GaveUp(cause)
        }
    }

    /// What `span` shows while it holds `mappings`: these, and holes between them.
    fn expectation(&self, span: Span, mappings: &[Mapping]) -> Vec<(Range<usize>, Shown)> {
        let base = self.address();
        // A span lies in the reservation, whose addresses are usize: neither cast nor addition loses anything.
        #[allow(clippy::cast_possible_truncation)]
        let at = |offset: WindowOffset| base.wrapping_add(offset.0 as usize);
        let mut expected = Vec::with_capacity(mappings.len().saturating_mul(2).saturating_add(1));
        let mut covered = at(span.start());
        for mapping in mappings {
            expected.push((covered..at(mapping.span.start()), Shown::Hole));
            covered = at(mapping.span.end());
            expected.push((at(mapping.span.start())..covered, mapping.into()));
        }
        expected.push((covered..at(span.end()), Shown::Hole));
        expected
    }

    /// The host addresses of `span`, unless others may have memory there.
    fn range(&self, span: Span) -> Result<Range<usize>, Failure> {
        if self.abandoned.is_some_and(|abandoned| abandoned.overlaps(span)) {
            return Err(Failure::Refused(Errno(libc::EIO).into()));
        }
        let length = usize::try_from(span.length()).map_err(|_| Failure::Refused(Errno(libc::EINVAL).into()))?;
        self.reservation.range().part(span.start().0, length).map_err(|errno| Failure::Refused(errno.into()))
    }

    /// Whether memory of others may lie in it, so that it can never be freed.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.is_some()
    }

    /// Frees the addresses, unless something that is not the window's may lie there; or gives the region back. The caller
    /// has made sure that no guest reaches them.
    pub(super) fn release(self: Box<Self>) -> Result<(), (Box<Self>, Errno)> {
        if self.is_abandoned() {
            return Err((self, Errno(libc::EIO)));
        }
        let Self { reservation, window, slots, trusted, abandoned } = *self;
        reservation
            .release()
            .map_err(|(reservation, errno)| (Box::new(Self { reservation, window, slots, trusted, abandoned }), errno))
    }
}

impl From<&Mapping> for Shown {
    fn from(mapping: &Mapping) -> Self {
        Self::File { ino: mapping.file.ino, file_offset: mapping.file_offset.0, writable: mapping.writable }
    }
}

/// A region at work under a mapper. What becomes of it when the mapper closes differs from backend to backend.
pub(super) struct RegionBackend {
    region: Box<Region>,
    /// Takes the window from the guest, as far as the backend can. Called at once when it is given up: until then the
    /// guest may reach memory of others.
    cut_off: Box<dyn Fn() + Send>,
    on_close: Box<dyn FnOnce(Box<Region>) -> Result<(), Refusal> + Send>,
}

impl RegionBackend {
    pub(super) fn new(
        region: Box<Region>,
        cut_off: impl Fn() + Send + 'static,
        on_close: impl FnOnce(Box<Region>) -> Result<(), Refusal> + Send + 'static,
    ) -> Self {
        Self { region, cut_off: Box::new(cut_off), on_close: Box::new(on_close) }
    }

    fn watched(&self, answer: Result<(), Failure>) -> Result<(), Failure> {
        if matches!(answer, Err(Failure::GaveUp(_))) {
            (self.cut_off)();
        }
        answer
    }
}

impl fmt::Debug for RegionBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.region.fmt(f)
    }
}

impl Backend for RegionBackend {
    fn host_address(&self) -> Option<usize> {
        Some(self.region.address())
    }

    fn vmas_of_window(&self) -> u64 {
        self.region.vmas()
    }

    /// Its own, and the hole that it splits off.
    fn vmas_per_mapping(&self) -> u64 {
        2
    }

    fn unmaps_many(&self) -> bool {
        true
    }

    fn map(&mut self, placement: &Placement) -> Result<(), Failure> {
        let placed = self.region.place(placement, Shown::Hole);
        self.watched(placed)?;
        if placement.prefault {
            self.region.populate(placement.span);
        }
        Ok(())
    }

    fn upgrade(&mut self, placement: &Placement) -> Result<(), Failure> {
        // One MAP_FIXED over the old mapping: the kernel swaps them under its own lock, and a guest's page fault
        // meets the one or the other.
        let (ino, file_offset) = (placement.file.ino, placement.file_offset.0);
        let placed = self.region.place(placement, Shown::File { ino, file_offset, writable: false });
        self.watched(placed)
    }

    fn unmap(&mut self, span: Span, mappings: &[Mapping]) -> Result<(), Failure> {
        let cleared = self.region.clear(span, mappings);
        self.watched(cleared)
    }

    fn read(&self, offset: WindowOffset, buffer: &mut [u8]) -> Result<(), Errno> {
        self.region.reservation.range().read(offset.0, buffer)
    }

    fn write(&self, offset: WindowOffset, data: &[u8]) -> Result<(), Errno> {
        self.region.reservation.range().write(offset.0, data)
    }

    fn close(self: Box<Self>) -> Result<(), Refusal> {
        (self.on_close)(self.region)
    }
}
