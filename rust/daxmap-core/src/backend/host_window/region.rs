//! One range of host addresses that is the window: reserved once, files placed in it by `MAP_FIXED`.

use super::holders::Holders;
use super::holes::Holes;
use crate::addr::{DAX_RANGE, Span};
use crate::backend::{Failure, Hold, Placement};
use crate::book::Mapping;
use crate::open_error::OpenError;
use crate::records::LOG_TARGET;
use crate::refusal::Refusal;
use crate::sys::{Errno, FileRange, Filesystem, HoleKind, Reservation, Shown, access_refusal, filesystem};
use crate::window::Window;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Alignment of the window's host address: that of the largest page a guest's page tables and the host's share.
#[allow(clippy::cast_possible_truncation)] // 2 MiB
const ALIGNMENT: usize = DAX_RANGE as usize;

/// The addresses a process can have: 47 bits on `x86_64` (`Documentation/arch/x86/x86_64/mm.rst`), 48 elsewhere.
const ADDRESS_SPACE: u64 = 1 << if cfg!(target_arch = "x86_64") { 47 } else { 48 };

/// The window's host addresses, as their owner works on them.
#[derive(Debug)]
pub(in crate::backend) struct Region {
    pub(super) reservation: Reservation,
    pub(super) holes: Holes,
    /// The devices whose files can be mapped, by access: a mapping of one more fails, if it does, before the kernel has
    /// touched anything. False for those of which that isn't so: each of their files is mapped on trial first.
    proven: BTreeMap<(u64, bool), bool>,
    /// Where memory of others may lie: ranges that don't overlap.
    pub(super) out_of_control: Vec<Span>,
    holders: Arc<Holders>,
}

impl Region {
    pub(in crate::backend) fn reserve(window: &Window) -> Result<Box<Self>, OpenError> {
        let size = window.size();
        let length = usize::try_from(size).ok().filter(|_| size < ADDRESS_SPACE).ok_or_else(|| {
            OpenError::Invalid(format!("window size {size:#x} is larger than a process's address space"))
        })?;
        let refused = |errno: Errno| OpenError::Refused {
            what: format!("reserving {size:#x} bytes of addresses for the window"),
            errno,
            remedy: (errno.0 == libc::ENOMEM)
                .then(|| "RLIMIT_AS, or vm.max_map_count, leaves no room: take a smaller window".to_owned()),
        };
        let reservation = Reservation::new(length, ALIGNMENT).map_err(refused)?;
        Ok(Box::new(Self {
            reservation,
            holes: Holes::new(size),
            proven: BTreeMap::new(),
            out_of_control: Vec::new(),
            holders: Arc::default(),
        }))
    }

    /// The addresses, for a guest to be shown.
    pub(in crate::backend) fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    pub(in crate::backend) fn address(&self) -> usize {
        self.reservation.range().start()
    }

    /// Places a file in place of whatever of `old` lies there: one call, so that the guest finds the one or the other.
    pub(super) fn place(&mut self, placement: &Placement, old: &[Mapping]) -> Result<(), Failure> {
        let range = self.range(placement.span)?;
        let Placement { span, fd, file_offset, writable, .. } = *placement;
        let file = FileRange { fd, offset: file_offset.0, length: range.len() };
        let device = (placement.file.dev, writable);
        if !self.proven.get(&device).copied().unwrap_or(false) {
            file.probe(writable).map_err(|errno| Failure::Unchanged(errno.into()))?;
            // Whether a file of FUSE can be mapped is for its server to say, at each open.
            self.proven.entry(device).or_insert_with(|| filesystem(fd) == Ok(Filesystem::Other));
        }
        let placed = self.reservation.place(span.start().0, &file, writable);
        self.holes.placed(span);
        placed.map_err(|errno| {
            if access_refusal(fd, writable) == Some(errno) {
                return Failure::Unchanged(errno.into()); // said before anything is touched: the common refusal is cheap
            }
            // There may have been a gap: a guest must not try until memory of others is in it.
            self.proven.insert(device, false);
            self.recover(span, errno.into(), old)
        })
    }

    pub(super) fn populate(&mut self, span: Span) {
        if let Ok(range) = self.range(span) {
            self.reservation.populate(span.start().0, range.len());
        }
    }

    /// Makes `span` a hole, whatever of `old` lies in it.
    pub(super) fn clear(&mut self, span: Span, old: &[Mapping]) -> Result<(), Failure> {
        let kind = self.holes.kind(span);
        let length = self.range(span)?.len();
        let cleared = self.reservation.clear(span.start().0, length, kind);
        cleared.map_err(|errno| self.recover(span, Refusal::io(errno), old))?;
        self.even_out(span, kind)
    }

    /// Sees to it that each range has holes of one kind, now that `span` is one of that kind, and that it merges with none.
    pub(super) fn even_out(&mut self, span: Span, kind: HoleKind) -> Result<(), Failure> {
        for part in self.holes.cleared(span, kind).into_iter().flatten() {
            let Ok(range) = self.range(part) else { continue };
            if let Err(errno) = self.reservation.clear(part.start().0, range.len(), HoleKind::Distinct) {
                // A hole it is, of either kind, or the region is lost.
                let failure = self.recover(part, Refusal::io(errno), &[]);
                if matches!(failure, Failure::OutOfControl(_)) {
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    /// The host addresses of `span`, unless others may have memory there.
    pub(super) fn range(&self, span: Span) -> Result<Range<usize>, Failure> {
        if self.out_of_control.iter().any(|lost| lost.overlaps(span)) {
            return Err(Failure::Unchanged(Errno(libc::EIO).into()));
        }
        let length = usize::try_from(span.length()).map_err(|_| Failure::Unchanged(Errno(libc::EINVAL).into()))?;
        self.reservation.range().part(span.start().0, length).map_err(|errno| Failure::Unchanged(errno.into()))
    }

    /// Whether memory of others may lie in it, so that it can never be freed.
    pub(in crate::backend) fn is_out_of_control(&self) -> bool {
        !self.out_of_control.is_empty()
    }

    /// Keeps the addresses reserved, whatever is released, until it is dropped.
    pub(super) fn hold(&self) -> Hold {
        self.holders.hold()
    }

    /// Frees the addresses, unless something that is not the window's may lie there; or gives the region back. While
    /// somebody holds them, they are freed when that ends. The caller has made sure that no guest reaches them.
    pub(in crate::backend) fn release(mut self: Box<Self>) -> Result<(), (Box<Self>, Errno)> {
        if self.is_out_of_control() {
            return Err((self, Errno(libc::EIO)));
        }
        let left = std::mem::take(&mut self.holders).leave(Left(Some(self)));
        left.and_then(|mut left| left.0.take()).map_or(Ok(()), |region| Self::free(*region))
    }

    /// Frees the addresses, or gives the region back. Nobody holds them.
    fn free(self) -> Result<(), (Box<Self>, Errno)> {
        let Self { reservation, holes, proven, out_of_control, holders } = self;
        reservation.release().map_err(|(reservation, errno)| {
            (Box::new(Self { reservation, holes, proven, out_of_control, holders }), errno)
        })
    }
}

/// A region that is to be freed when it is dropped.
#[derive(Debug)]
struct Left(Option<Box<Region>>);

impl Drop for Left {
    fn drop(&mut self) {
        let Some(region) = self.0.take() else { return };
        if let Err((region, errno)) = Region::free(*region) {
            let address = region.address();
            log::warn!(target: LOG_TARGET, "host window at {address:#x} stays reserved: {errno}");
        }
    }
}

impl From<Left> for Hold {
    fn from(left: Left) -> Self {
        Box::new(left)
    }
}

impl From<&Mapping> for Shown {
    fn from(mapping: &Mapping) -> Self {
        Self::File { ino: mapping.file.ino, file_offset: mapping.file_offset.0, writable: mapping.writable }
    }
}
