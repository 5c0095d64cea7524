//! Guests whose memory changes range by range: what one `map` gave, one `unmap` takes, whole.
//!
//! A mapping that is replaced or cut takes several such steps. Each may be refused, and each may fail in doubt: it may
//! have done its work before it failed. So there is a way back from every step, and a third state beside shown and not
//! shown: unknown. What the guest may still see of an unknown range is kept, and the next change that touches the range
//! settles it.

use super::{Backend, Change, Failure, Hold, Placement};
use crate::addr::{Span, WindowOffset};
use crate::budget::Charge;
use crate::refusal::Refusal;
use crate::sys::{Errno, FileId};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// The steps of one kind of guest.
///
/// # Examples
/// ```
/// use daxmap_core::{Errno, Pin, Pins, Placement, Refusal, Span, Steps, Stepwise, View};
/// # use daxmap_core::{FileOffset, GuestAddress, MapRequest, Mapper, Options, Overlap, WindowOffset};
/// # use std::os::fd::AsRawFd;
/// use std::sync::Arc;
///
/// /// A guest in another process, to which descriptors are sent: a vhost-user front end.
/// #[derive(Debug, Default)]
/// struct FrontEnd {
///     pins: Pins,
/// }
///
/// impl Steps for FrontEnd {
///     type Source = Pin;
///
///     fn open(&mut self, placement: &Placement) -> Result<(Arc<Pin>, u64), Errno> {
///         Ok((self.pins.pin(placement)?, placement.file_offset.0))
///     }
///
///     fn map(&mut self, view: &View<Pin>, _: Option<&Placement>) -> Result<(), Refusal> {
///         println!("map {} from {:#x} of fd {}", view.span, view.position, view.source.fd());
///         Ok(())
///     }
///
///     fn unmap(&mut self, span: Span) -> Result<(), Refusal> {
///         println!("unmap {span}");
///         Ok(())
///     }
///
///     fn protect(&mut self, _: &mut View<Pin>, _: &Placement) -> Option<Result<(), Refusal>> {
///         None // an upgrade is an unmap and a map
///     }
///
///     fn unprotect(&mut self, _: &View<Pin>) -> Result<(), Refusal> {
///         unreachable!("no protect has failed")
///     }
///
///     fn close(&mut self, pin: Pin) -> Result<(), Errno> {
///         self.pins.unpin(pin);
///         Ok(())
///     }
/// }
///
/// let mapper = Mapper::new(GuestAddress(1 << 32), 2 << 20, Options::default(), |_| {
///     Ok(Box::new(Stepwise::new(FrontEnd::default())))
/// })?;
/// # let file = std::fs::File::open(std::env::current_exe()?)?;
/// # let (file_offset, window_offset, page) = (FileOffset(0), WindowOffset(0), mapper.page_size());
/// let request = MapRequest { file_offset, window_offset, length: 3 * page, writable: false };
/// mapper.setup(file.as_raw_fd(), &request, Overlap::Refuse)?; // map
/// mapper.remove_range(WindowOffset(page), page)?; // unmap, and map of the two pieces
/// mapper.drain_all()?; // unmap of the two pieces
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Steps: Debug + Send {
    /// What a guest is shown a part of: host memory, a file. It is kept as long as the guest may reach it.
    type Source: Debug + Send + Sync;

    /// How many VMAs of this process a mapping may cost: see [`Backend::vmas_per_mapping`].
    fn vmas_per_mapping(&self) -> u64 {
        1
    }

    /// Makes the source of a new mapping, and says where in it the mapping starts, in bytes. The guest sees nothing of it
    /// yet.
    ///
    /// # Errors
    /// What the host said.
    fn open(&mut self, placement: &Placement) -> Result<(Arc<Self::Source>, u64), Errno>;

    /// Shows a view in a range that shows nothing. `new` is the placement that it is the view of; a piece of a mapping
    /// that was cut, and a mapping that is given back, have none.
    ///
    /// # Errors
    /// A [`Refusal`]. Unless it is in doubt, the guest does not see the view.
    fn map(&mut self, view: &View<Self::Source>, new: Option<&Placement>) -> Result<(), Refusal>;

    /// Takes a range from the guest, which one `map` gave it.
    ///
    /// # Errors
    /// A [`Refusal`]. Unless it is in doubt, the guest still sees the range.
    fn unmap(&mut self, span: Span) -> Result<(), Refusal>;

    /// Gives a view another access, by way of the descriptor of `placement`, without a moment at which the guest does not
    /// see it. `None` where that can't be done.
    ///
    /// # Errors
    /// A [`Refusal`]. Unless it is in doubt, the access is the old one.
    fn protect(&mut self, view: &mut View<Self::Source>, placement: &Placement) -> Option<Result<(), Refusal>>;

    /// Takes back a [`Self::protect`] that failed in doubt.
    ///
    /// # Errors
    /// A [`Refusal`]: the access is unknown.
    fn unprotect(&mut self, view: &View<Self::Source>) -> Result<(), Refusal>;

    /// Divides a source of which the guest sees only `parts` from now on, by rising position. Gives for each part its source
    /// and its position there. What lies between them is freed, or else noted.
    fn divide(
        &mut self,
        source: Arc<Self::Source>,
        parts: &[Range<u64>],
        _notes: &mut Vec<String>,
    ) -> Vec<(Arc<Self::Source>, u64)> {
        parts.iter().map(|part| (Arc::clone(&source), part.start)).collect()
    }

    /// Has the next sources of `file` made from the descriptors that come with them, not shared with older ones.
    fn renew(&mut self, _file: FileId) {}

    /// Frees a source of which the guest surely sees nothing any more.
    ///
    /// # Errors
    /// What the host said: the source stays for the life of the process.
    fn close(&mut self, source: Self::Source) -> Result<(), Errno>;

    /// Where in this process the byte at `position` of the source lies, if it does.
    fn host_address(&self, _source: &Self::Source, _position: u64) -> Option<usize> {
        None
    }

    /// Keeps a source until it is dropped, and frees it then if nobody else has it; `None` where its memory is not this
    /// process's.
    fn hold(&self, _source: &Arc<Self::Source>) -> Option<Hold> {
        None
    }

    /// Fills `buffer` from the source, from `position` on.
    ///
    /// # Errors
    /// EFAULT where there is no byte of a file; ENOTSUP where the guest's memory is not this process's.
    fn read(&self, _source: &Self::Source, _position: u64, _buffer: &mut [u8]) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }

    /// Stores `data` in the source, from `position` on.
    ///
    /// # Errors
    /// EFAULT where there is no byte of a file that may be written; ENOTSUP as for [`Self::read`].
    fn write(&self, _source: &Self::Source, _position: u64, _data: &[u8]) -> Result<(), Errno> {
        Err(Errno(libc::ENOTSUP))
    }
}

/// A range of the window that shows a part of a source.
#[derive(Debug)]
pub struct View<S> {
    /// The range of the window.
    pub span: Span,
    /// What it shows a part of.
    pub source: Arc<S>,
    /// Where in the source the part starts, in bytes.
    pub position: u64,
    /// Whether the guest may store to it.
    pub writable: bool,
}

impl<S> View<S> {
    /// The part of the view in `span`, which lies inside it.
    fn part(&self, span: Span) -> Self {
        let skipped = span.start().0.wrapping_sub(self.span.start().0); // not before the view's start
        let position = self.position.wrapping_add(skipped); // inside the source
        Self { span, source: Arc::clone(&self.source), position, writable: self.writable }
    }
}

/// The backend of a guest that takes one range at a time.
#[derive(Debug)]
pub struct Stepwise<G: Steps> {
    guest: G,
    /// What the guest is shown, by window offset. A second book beside the mapper's, changed in the same calls: the
    /// mapper's knows nothing of sources.
    shown: BTreeMap<u64, View<G::Source>>,
    /// What the guest may see or not. None of these shares a byte with what is shown.
    unknown: Vec<View<G::Source>>,
}

/// A step that failed.
struct Failed {
    cause: Refusal,
    /// Whether the view is unknown now; else the guest sees what it saw before the step.
    unknown: bool,
}

/// The steps of a change that were done so far.
struct Done<S> {
    taken: Vec<View<S>>,
    given: Vec<Span>,
    /// Ranges that a step left unknown.
    unknown: Vec<Span>,
    /// Old mappings that the guest may have lost, and that can't be given back.
    gone: Vec<Span>,
}

impl<S> Default for Done<S> {
    fn default() -> Self {
        Self { taken: Vec::new(), given: Vec::new(), unknown: Vec::new(), gone: Vec::new() }
    }
}

impl<G: Steps> Stepwise<G> {
    /// A backend over `guest`, which is shown nothing yet.
    pub fn new(guest: G) -> Self {
        Self { guest, shown: BTreeMap::new(), unknown: Vec::new() }
    }

    /// Shows a view where nothing is shown. A map that failed in doubt is undone by an unmap.
    fn give(&mut self, view: View<G::Source>, new: Option<&Placement>, notes: &mut Vec<String>) -> Result<(), Failed> {
        let Err(cause) = self.guest.map(&view, new) else {
            self.settled(view.span, notes);
            self.shown.insert(view.span.start().0, view);
            return Ok(());
        };
        if !cause.is_in_doubt() {
            self.free(view, notes);
            return Err(Failed { cause, unknown: false });
        }
        let unknown = self.guest.unmap(view.span).is_err();
        if unknown {
            self.unknown.push(view);
        } else {
            self.settled(view.span, notes);
            self.free(view, notes);
        }
        Err(Failed { cause, unknown })
    }

    /// Takes the view of just this span from the guest. An unmap that failed in doubt is asked for once more.
    fn take(&mut self, span: Span, notes: &mut Vec<String>) -> Result<Option<View<G::Source>>, Failed> {
        let Err(cause) = self.guest.unmap(span) else { return Ok(self.shown.remove(&span.start().0)) };
        if !cause.is_in_doubt() {
            return Err(Failed { cause, unknown: false });
        }
        let view = self.shown.remove(&span.start().0);
        if self.guest.unmap(span).is_ok() {
            notes.push(format!("range {span} was unmapped at the second try: {cause}"));
            return Ok(view);
        }
        self.unknown.extend(view);
        Err(Failed { cause, unknown: true })
    }

    /// Notes that the guest sees nothing unknown in `span`: it was unmapped, or something else is mapped there.
    fn settled(&mut self, span: Span, notes: &mut Vec<String>) {
        if self.unknown.is_empty() {
            return;
        }
        let (touched, others) =
            std::mem::take(&mut self.unknown).into_iter().partition(|view| view.span.overlaps(span));
        self.unknown = others;
        for view in touched {
            self.unknown.extend(view.span.without(span).map(|piece| view.part(piece)));
            self.free(view, notes);
        }
    }

    /// Lets go of a view that the guest does not see; its source is freed with the last of them.
    fn free(&mut self, view: View<G::Source>, notes: &mut Vec<String>) {
        let span = view.span;
        let freed = Arc::into_inner(view.source).map_or(Ok(()), |source| self.guest.close(source));
        if let Err(errno) = freed {
            notes.push(format!("the memory of range {span} stays mapped, unused, since munmap failed: {errno}"));
        }
    }

    /// Lets go of the part of an old view that was cut out; its pieces are shown by now.
    fn let_go(&mut self, old: View<G::Source>, cut: Span, notes: &mut Vec<String>) {
        let spans: Vec<Span> = old.span.without(cut).collect();
        if spans.is_empty() {
            return self.free(old, notes);
        }
        let mut parts = Vec::new();
        for span in &spans {
            let View { position, span, .. } = old.part(*span);
            parts.push(position..position.saturating_add(span.length()));
        }
        for span in &spans {
            self.shown.remove(&span.start().0); // so that the source is `old`'s alone, and can be divided
        }
        let divided = self.guest.divide(old.source, &parts, notes);
        for (span, (source, position)) in spans.into_iter().zip(divided) {
            self.shown.insert(span.start().0, View { span, source, position, writable: old.writable });
        }
    }

    fn free_all(&mut self, views: impl IntoIterator<Item = View<G::Source>>, notes: &mut Vec<String>) {
        for view in views {
            self.free(view, notes);
        }
    }

    /// The way back: takes away what was given, and gives back what was taken.
    fn undo(&mut self, cause: Refusal, change: &Change<'_>, done: Done<G::Source>, notes: &mut Vec<String>) -> Failure {
        let Done { taken, given, mut unknown, mut gone } = done;
        for span in given {
            match self.take(span, notes) {
                Ok(view) => self.free_all(view, notes),
                Err(failed) => {
                    if !failed.unknown {
                        self.unknown.extend(self.shown.remove(&span.start().0)); // seen, but in no book
                    }
                    unknown.push(span);
                }
            }
        }
        for view in taken {
            let span = view.span;
            if self.give(view, None, notes).is_err() {
                gone.push(span);
            }
        }
        // What was given back may have settled it. (A piece that is unknown belongs to a mapping that is gone.)
        let new = change.new.map(|new| new.span).filter(|span| unknown.contains(span));
        let new_is_unknown = new.is_some_and(|span| self.unknown.iter().any(|view| view.span.overlaps(span)));
        if gone.is_empty() && !new_is_unknown {
            Failure::Unchanged(cause)
        } else {
            Failure::Lost { cause, gone, new_is_unknown }
        }
    }

    /// Changes a view's access in place, if that is all the change does and the guest can.
    fn protect(&mut self, change: &Change<'_>) -> Option<Result<(), Failure>> {
        let (old, new) = (change.alters_access_of()?, change.new?);
        let view = self.shown.get_mut(&old.span.start().0)?;
        let Err(cause) = self.guest.protect(view, new)? else {
            view.writable = new.writable;
            return Some(Ok(()));
        };
        if !cause.is_in_doubt() || self.guest.unprotect(view).is_ok() {
            return Some(Err(Failure::Unchanged(cause)));
        }
        self.unknown.extend(self.shown.remove(&old.span.start().0));
        Some(Err(Failure::Lost { cause, gone: vec![old.span], new_is_unknown: false }))
    }

    /// The view that shows the byte at `offset`, that byte's position in its source, and how much of `wanted` it shows.
    fn at(&self, offset: u64, wanted: usize) -> Result<(&View<G::Source>, u64, usize), Errno> {
        let fault = Errno(libc::EFAULT);
        let (start, view) = self.shown.range(..=offset).next_back().ok_or(fault)?;
        let inside = offset.saturating_sub(*start);
        let left = view.span.length().checked_sub(inside).filter(|left| *left > 0).ok_or(fault)?;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        Ok((view, view.position.saturating_add(inside), length))
    }
}

impl<G: Steps> Backend for Stepwise<G> {
    fn vmas_per_mapping(&self) -> u64 {
        self.guest.vmas_per_mapping()
    }

    fn change(&mut self, change: &Change<'_>, notes: &mut Vec<String>) -> Result<(), Failure> {
        if let Some(done) = self.protect(change) {
            return done;
        }
        let mut wanted = Vec::new();
        if let Some(new) = change.new {
            let (source, position) = self.guest.open(new).map_err(|errno| Failure::Unchanged(errno.into()))?;
            wanted.push(View { span: new.span, source, position, writable: new.writable });
        }
        let mut done = Done::default();
        for old in change.old {
            match self.take(old.span, notes) {
                Ok(view) => done.taken.extend(view),
                Err(Failed { cause, unknown }) => {
                    self.free_all(wanted, notes);
                    done.gone.extend(unknown.then_some(old.span));
                    return Err(self.undo(cause, change, done, notes));
                }
            }
        }
        for view in &done.taken {
            wanted.extend(view.span.without(change.span).map(|piece| view.part(piece)));
        }
        let mut rest = wanted.into_iter();
        let mut new = change.new;
        while let Some(view) = rest.next() {
            let span = view.span;
            if let Err(Failed { cause, unknown }) = self.give(view, new.take(), notes) {
                self.free_all(rest, notes);
                done.unknown.extend(unknown.then_some(span));
                return Err(self.undo(cause, change, done, notes));
            }
            done.given.push(span);
        }
        for view in done.taken {
            self.let_go(view, change.span, notes);
        }
        Ok(())
    }

    fn settle(&mut self, span: Span, notes: &mut Vec<String>) -> Result<(), Refusal> {
        let mut settled = Ok(());
        let mut asked = 0; // how many need not be asked for, or were, in vain
        while let Some(next) = self.unknown.get(asked).map(|view| view.span) {
            if next.overlaps(span) {
                match self.guest.unmap(next) {
                    Ok(()) => {
                        let stays = |view: &&View<G::Source>| !view.span.overlaps(next);
                        asked = self.unknown.iter().take(asked).filter(stays).count();
                        self.settled(next, notes); // what is left of others comes last, and is asked for in its turn
                        continue;
                    }
                    Err(cause) => settled = settled.and(Err(cause)),
                }
            }
            asked = asked.saturating_add(1);
        }
        if self.unknown.iter().any(|view| view.span.overlaps(span)) { settled } else { Ok(()) }
    }

    fn renew(&mut self, file: FileId) {
        self.guest.renew(file);
    }

    fn unsettled(&self) -> u64 {
        self.unknown.len() as u64
    }

    fn host_address_at(&self, offset: WindowOffset) -> Option<usize> {
        let (view, position, _) = self.at(offset.0, 1).ok()?;
        self.guest.host_address(&view.source, position)
    }

    fn read(&self, offset: WindowOffset, buffer: &mut [u8]) -> Result<(), Errno> {
        let mut rest = buffer;
        let mut next = offset.0;
        while !rest.is_empty() {
            let (view, position, length) = self.at(next, rest.len())?;
            let (piece, after) = rest.split_at_mut(length);
            self.guest.read(&view.source, position, piece)?;
            (rest, next) = (after, next.saturating_add(length as u64));
        }
        Ok(())
    }

    fn write(&self, offset: WindowOffset, data: &[u8]) -> Result<(), Errno> {
        let mut rest = data;
        let mut next = offset.0;
        while !rest.is_empty() {
            let (view, position, length) = self.at(next, rest.len())?;
            let (piece, after) = rest.split_at(length);
            self.guest.write(&view.source, position, piece)?;
            (rest, next) = (after, next.saturating_add(length as u64));
        }
        Ok(())
    }

    fn hold(&self, span: Span) -> Option<Vec<Hold>> {
        let falling = self.shown.range(..span.end().0).rev().map(|(_, view)| view);
        let views = falling.take_while(|view| view.span.end() > span.start());
        views.map(|view| self.guest.hold(&view.source)).collect()
    }

    /// Host memory that is still shown, or unknown, stays mapped for the life of the process: the guest holds it.
    fn close(self: Box<Self>, charge: Charge, _notes: &mut Vec<String>) -> bool {
        for view in self.shown.values().chain(&self.unknown) {
            std::mem::forget(self.guest.hold(&view.source));
        }
        std::mem::forget(charge);
        false
    }
}
