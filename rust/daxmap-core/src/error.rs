//! One error type for every operation, with the errno that the contract gives it.

use crate::addr::{FileOffset, GuestAddress, Span, WindowOffset};
use crate::no_page::NoPage;
use crate::refusal::Refusal;
use crate::sys::Errno;
use std::fmt;
use std::os::fd::RawFd;

/// What an operation of a [`Mapper`](crate::Mapper) returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused. Whatever the reason, mapper, host and guest are as they were, unless the variant
/// says otherwise.
///
/// # Examples
/// ```
/// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
/// # use {daxmap_core::*, doc::*};
/// # let (mapper, file) = (mapper()?, file()?);
/// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
/// match mapper.setup(-1, &request(0, page), Overlap::Refuse) {
///     Err(Error::BadDescriptor { fd, errno }) => assert_eq!((fd, errno), (-1, Errno(9))), // EBADF
///     other => panic!("{other:?}"),
/// }
/// assert_eq!(mapper.remove(WindowOffset(0), page).unwrap_err().errno(), Errno(2)); // ENOENT
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The mapper was drained.
    Closed,
    /// The calling thread is inside a callback of this very mapper.
    Reentered,
    /// The process is a fork of the one that made the mapper: its window belongs to the parent's guest.
    Forked,
    /// [`Options::stop_waiting`](crate::Options::stop_waiting) ended the wait for another thread's call.
    StoppedWaiting,
    /// An offset or a length is not a multiple of the host's page size.
    Misaligned {
        /// The argument.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The host's page size, in bytes.
        page_size: u64,
    },
    /// The length is 0.
    EmptyRange,
    /// The range leaves the window, or wraps.
    OutsideWindow {
        /// Start of the range.
        offset: WindowOffset,
        /// Its length in bytes.
        length: u64,
        /// Where the window begins.
        base: GuestAddress,
        /// Size of the window in bytes.
        size: u64,
    },
    /// The file range passes the largest file offset, 2**63 - 1.
    OutsideFile {
        /// Start of the range.
        offset: FileOffset,
        /// Its length in bytes.
        length: u64,
    },
    /// A writable mapping was asked of a read-only mapper.
    ReadOnlyMapper,
    /// `fstat` refused the file descriptor.
    BadDescriptor {
        /// The file descriptor.
        fd: RawFd,
        /// What `fstat` said, mostly EBADF.
        errno: Errno,
    },
    /// The file descriptor is not of a regular file.
    NotRegular {
        /// The file descriptor.
        fd: RawFd,
        /// What it is instead.
        kind: &'static str,
    },
    /// The file is one of hugetlbfs: the kernel would map more of it than was asked for.
    HugePages {
        /// The file descriptor.
        fd: RawFd,
    },
    /// The file has no byte to be mapped.
    EmptyFile {
        /// The file descriptor.
        fd: RawFd,
    },
    /// The range overlaps a live mapping.
    Overlap {
        /// The range asked for.
        asked: Span,
        /// The mapping in its way.
        live: Span,
    },
    /// The mapper's, or the process's, budget of mappings is used up.
    OverBudget {
        /// The budget: mappings of this mapper, or VMAs of this process.
        limit: u64,
        /// What the limit counts.
        unit: &'static str,
    },
    /// Host or guest refused the mapping.
    MapFailed {
        /// The range asked for.
        span: Span,
        /// The file descriptor.
        fd: RawFd,
        /// What can be done about it, where the errno comes from the host's `mmap`.
        remedy: Option<&'static str>,
        /// Who said no, and why.
        cause: Refusal,
    },
    /// Part of the range was unknown before, and is so still: see [`Self::Unknown`].
    Unsettled {
        /// The range that was asked for.
        span: Span,
        /// Who said no, and why.
        cause: Refusal,
    },
    /// A mapping was refused, and so was its undoing: it is unknown whether the guest sees it. What it may see is kept,
    /// and the next call that touches the range settles it.
    Unknown {
        /// The range.
        span: Span,
        /// Who said no, and why.
        cause: Refusal,
    },
    /// A change failed on its way, and so did the way back. Mappings left the book: the guest has lost them, or it is
    /// unknown whether it has, and then what it may still see is kept.
    Lost {
        /// The range.
        span: Span,
        /// Who said no, and why.
        cause: Refusal,
    },
    /// Memory that is not the file's may show in the window: the mapper closed itself and took the window from the
    /// guest where it could.
    OutOfControl {
        /// The range that could not be made right.
        span: Span,
        /// Who said no, and why.
        cause: Refusal,
    },
    /// No mapping starts at the offset.
    NoMapping {
        /// The offset.
        offset: WindowOffset,
        /// The mapping that holds it.
        holder: Option<Span>,
    },
    /// A mapping starts at the offset, but its length is another.
    LengthDiffers {
        /// Length asked for, in bytes.
        asked: u64,
        /// The mapping.
        live: Span,
    },
    /// The guest still has the range; the mapping was kept.
    UnmapRefused {
        /// The range.
        span: Span,
        /// Who said no, and why.
        cause: Refusal,
    },
    /// An access through the window leaves it.
    AccessOutside {
        /// Where the access began.
        address: GuestAddress,
        /// Its length in bytes.
        length: u64,
        /// Where the window begins.
        base: GuestAddress,
        /// Size of the window in bytes.
        size: u64,
    },
    /// An access through the window met a hole.
    Hole {
        /// Where the access began.
        address: GuestAddress,
        /// Its length in bytes.
        length: u64,
        /// The first byte that no mapping holds.
        hole: GuestAddress,
    },
    /// An access through the window met a page that the host does not have.
    NoPage {
        /// The first byte of that page which was to be accessed.
        address: GuestAddress,
        /// Why there is no page.
        why: NoPage,
    },
    /// A write through the window met a read-only mapping.
    ReadOnlyMapping {
        /// Where the access began.
        address: GuestAddress,
        /// The mapping.
        live: Span,
    },
    /// A device works on memory of the range: it is [lent](crate::Mapper::resolve), and stays as it is meanwhile.
    Lent {
        /// The range asked for.
        asked: Span,
        /// What is lent of it.
        lent: Span,
    },
    /// The guest's memory is not this process's: the VMM maps it by itself.
    Elsewhere {
        /// Where the access began.
        address: GuestAddress,
    },
    /// The copy could not be made for another reason.
    CopyFailed {
        /// Where the access began.
        address: GuestAddress,
        /// What was asked to make it.
        call: &'static str,
        /// What that said.
        errno: Errno,
    },
    /// KVM would not start or stop the dirty log of a memory slot.
    DirtyLogRefused {
        /// The number of the slot.
        slot: u32,
        /// What `KVM_SET_USER_MEMORY_REGION` said.
        errno: Errno,
    },
    /// The host window can't be released before its mapper is drained.
    WindowInUse,
    /// The addresses of a host window could not be freed, and stay reserved.
    NotReleased {
        /// What the host said; EIO where memory of others may lie in the window.
        errno: Errno,
    },
}

impl Error {
    /// The host's errno for this error.
    #[must_use]
    pub fn errno(&self) -> Errno {
        let number = match self {
            Self::Closed | Self::NotRegular { .. } | Self::HugePages { .. } => libc::ENODEV,
            Self::Reentered => libc::EDEADLK,
            Self::Forked => libc::EPERM,
            Self::StoppedWaiting => libc::EINTR,
            Self::Misaligned { .. }
            | Self::EmptyRange
            | Self::EmptyFile { .. }
            | Self::OutsideWindow { .. }
            | Self::OutsideFile { .. }
            | Self::LengthDiffers { .. } => libc::EINVAL,
            Self::ReadOnlyMapper => libc::EROFS,
            Self::MapFailed { cause, .. }
            | Self::UnmapRefused { cause, .. }
            | Self::Unknown { cause, .. }
            | Self::Unsettled { cause, .. } => return cause.errno(),
            Self::BadDescriptor { errno, .. }
            | Self::CopyFailed { errno, .. }
            | Self::DirtyLogRefused { errno, .. }
            | Self::NotReleased { errno } => return *errno,
            Self::Overlap { .. } => libc::EEXIST,
            Self::OverBudget { .. } => libc::ENOSPC,
            Self::Lost { .. } | Self::OutOfControl { .. } => libc::EIO,
            Self::NoMapping { .. } => libc::ENOENT,
            Self::AccessOutside { .. } | Self::Hole { .. } | Self::NoPage { .. } => libc::EFAULT,
            Self::ReadOnlyMapping { .. } => libc::EACCES,
            Self::WindowInUse | Self::Lent { .. } => libc::EBUSY,
            Self::Elsewhere { .. } => libc::ENOTSUP,
        };
        Errno(number)
    }
}

/// A value that is no multiple of the page size, in both bases, since nobody knows in which its caller thinks, and the
/// multiples next to it.
pub(crate) fn misaligned(f: &mut impl fmt::Write, name: &str, value: u64, page_size: u64) -> fmt::Result {
    write!(f, "{name} {value} ({value:#x}) is not a multiple of the host's page size {page_size} ({page_size:#x})")?;
    let below = value.wrapping_sub(value.checked_rem(page_size).unwrap_or(0));
    match (below, value.checked_next_multiple_of(page_size)) {
        (_, None) => write!(f, ": {below} ({below:#x}) is"),
        (0, Some(above)) => write!(f, ": {above} ({above:#x}) is"),
        (below, Some(above)) => write!(f, ": {below} ({below:#x}) and {above} ({above:#x}) are"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the mapper is closed: make a new one"),
            Self::Reentered => f.write_str("a callback of the mapper called it back"),
            Self::Forked => f.write_str("the mapper belongs to the process that forked this one"),
            Self::StoppedWaiting => f.write_str("the wait for another thread's call of the mapper was ended"),
            Self::Misaligned { name, value, page_size } => misaligned(f, name, *value, *page_size),
            Self::EmptyRange => f.write_str("length is 0: a mapping has one page at least"),
            Self::OutsideWindow { offset, length, base, size } => {
                write!(f, "window_offset {offset} + length {length:#x} leaves the window of {size:#x} bytes")?;
                match offset.0.checked_sub(base.0).filter(|inside| offset.0 >= *size && *inside < *size) {
                    Some(inside) => {
                        write!(f, ": window offsets are wanted, not guest addresses; {offset} is offset {inside:#x}")
                    }
                    None if *length > *size => f.write_str(": make the window larger"),
                    None => Ok(()),
                }
            }
            Self::OutsideFile { offset, length } => {
                write!(f, "file_offset {offset} + length {length:#x} passes 2**63 - 1")
            }
            Self::ReadOnlyMapper => f.write_str("a writable mapping was asked of a read-only mapper"),
            Self::BadDescriptor { fd, errno } => write!(f, "fstat of fd {fd}: {errno}"),
            Self::NotRegular { fd, kind } => write!(f, "fd {fd} is {kind}, not a regular file"),
            Self::HugePages { fd } => {
                write!(
                    f,
                    "fd {fd} is of hugetlbfs, where the kernel maps whole huge pages: more than a guest may ask for"
                )
            }
            Self::EmptyFile { fd } => {
                write!(f, "the file of fd {fd} is empty, there is nothing to map yet: flush what was written to it")
            }
            Self::Overlap { asked, live } => {
                write!(f, "range {asked} overlaps the live mapping {live}: remove that first, or replace it")
            }
            Self::OverBudget { limit, unit } => {
                write!(f, "the budget of {limit} {unit} is used up: remove mappings, or raise it")
            }
            Self::MapFailed { span, fd, remedy, cause } => {
                write!(f, "mapping fd {fd} at {span}: {cause}")?;
                remedy.map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
            }
            Self::Unknown { span, cause } | Self::Unsettled { span, cause } => {
                write!(f, "it is unknown what the guest sees in range {span}: {cause}")
            }
            Self::Lost { span, cause } => {
                write!(f, "range {span} was lost while it changed, and counts as a hole now: {cause}")
            }
            Self::OutOfControl { span, cause } => {
                write!(f, "range {span} may show memory that is not the window's, so the window is given up: {cause}")
            }
            Self::NoMapping { offset, holder: None } => write!(f, "no mapping starts at window_offset {offset}"),
            Self::NoMapping { offset, holder: Some(live) } => {
                write!(f, "no mapping starts at window_offset {offset}, {live} holds it; a part goes with remove_range")
            }
            Self::LengthDiffers { asked, live } => {
                let (live_length, cut) = (live.length(), "a part goes with remove_range");
                write!(f, "length {asked:#x} differs from that of the mapping {live}, {live_length:#x}; {cut}")
            }
            Self::UnmapRefused { span, cause } => {
                write!(f, "mapping {span} is kept, it could not be unmapped: {cause}")
            }
            Self::AccessOutside { address, length, base, size } => {
                write!(f, "[{address}, +{length:#x}) is not in the window, [{base}, +{size:#x})")?;
                match address.0.checked_add(*length).filter(|end| *end <= *size) {
                    Some(_) => {
                        let as_offset = GuestAddress(base.0.wrapping_add(address.0));
                        write!(f, ": guest addresses are wanted, not window offsets; that offset is at {as_offset}")
                    }
                    None => Ok(()),
                }
            }
            Self::Hole { address, length, hole } => {
                write!(f, "[{address}, +{length:#x}) has a hole at {hole}: no mapping holds that byte")
            }
            Self::NoPage { address, why } => write!(f, "there is no page at {address}: {why}"),
            Self::ReadOnlyMapping { address, live } => {
                write!(f, "write at {address} meets the read-only mapping {live}")
            }
            Self::Lent { asked, lent } => {
                write!(f, "range {asked} can't be changed: {lent} is lent to a device, until that has ended")
            }
            Self::Elsewhere { address } => {
                write!(f, "{address} has no host address: the backend is the VMM's own, which maps files by itself")
            }
            Self::CopyFailed { address, call, errno } => write!(f, "copy at {address} by {call}: {errno}"),
            Self::DirtyLogRefused { slot, errno } => {
                write!(f, "KVM_SET_USER_MEMORY_REGION of slot {slot}, for its dirty log: {errno}")
            }
            Self::WindowInUse => f.write_str("the window's mapper is not drained yet: close it first"),
            Self::NotReleased { errno } => write!(f, "the window's addresses stay reserved: {errno}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::MapFailed { cause, .. }
            | Self::UnmapRefused { cause, .. }
            | Self::Unknown { cause, .. }
            | Self::Unsettled { cause, .. }
            | Self::Lost { cause, .. }
            | Self::OutOfControl { cause, .. } => cause.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_values() {
        let span = Span::new(WindowOffset(0x20_0000), 0x1000).unwrap();
        let error = Error::Overlap { asked: span, live: span };
        assert_eq!(error.errno(), Errno(libc::EEXIST));
        let text = "range [0x200000, 0x201000) overlaps the live mapping [0x200000, 0x201000): remove that";
        assert!(error.to_string().starts_with(text), "{error}");
        let error = Error::MapFailed { span, fd: 5, remedy: Some("open it"), cause: Errno(libc::EACCES).into() };
        assert!(error.to_string().starts_with("mapping fd 5 at [0x200000, 0x201000): Permission denied"), "{error}");
        assert!(error.to_string().ends_with(": open it"), "{error}");
        assert_eq!(error.errno(), Errno(libc::EACCES));
    }
}
