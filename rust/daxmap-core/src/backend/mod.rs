//! How a guest is shown memory. The trait between mapper and backend is small: policy and book are the mapper's.

mod hvf;
mod hypervisor;

#[cfg(target_os = "linux")]
mod host_window;
#[cfg(target_os = "linux")]
mod kvm;
#[cfg(target_os = "linux")]
mod region;
#[cfg(target_os = "linux")]
mod slots;

pub use hvf::{FRAMEWORK, Hvf};
pub use hypervisor::{Access, Hypervisor, HypervisorBackend};
#[cfg(target_os = "linux")]
pub use {host_window::HostWindow, kvm::KvmWindow};

use crate::addr::{FileOffset, Span, WindowOffset};
use crate::refusal::Refusal;
use crate::sys::{Errno, FileId};
use crate::table::Mapping;
use std::fmt::Debug;
use std::os::fd::RawFd;

/// What a backend is asked to show: a range of a file in a range of the window.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// The range of the window.
    pub span: Span,
    /// A descriptor of the file, open during the call.
    pub fd: RawFd,
    /// The file's identity, as `fstat` gave it for `fd`.
    pub file: FileId,
    /// Where in the file the range starts.
    pub file_offset: FileOffset,
    /// Whether the guest may store to it.
    pub writable: bool,
    /// Whether the pages are to be brought in now, if that can be done; never for a writable mapping.
    pub prefault: bool,
}

/// What a backend did when it could not do what it was asked.
#[derive(Clone, Debug)]
pub enum Failure {
    /// Nothing: the guest sees what it saw before.
    Refused(Refusal),
    /// The range shows nothing now, whatever it showed before.
    Emptied(Refusal),
    /// What the range shows is out of the backend's hands. The mapper closes.
    GaveUp(Refusal),
}

impl Failure {
    /// Why.
    #[must_use]
    pub fn cause(&self) -> &Refusal {
        match self {
            Self::Refused(cause) | Self::Emptied(cause) | Self::GaveUp(cause) => cause,
        }
    }
}

/// Makes mappings visible to one guest.
///
/// The mapper calls one method at a time, under its lock, with spans that it has checked: inside the window,
/// page-aligned, and never overlapping by mistake.
pub trait Backend: Debug + Send {
    /// Where the window lies in this process, if it is one range of host addresses.
    fn host_address(&self) -> Option<usize> {
        None
    }

    /// How many VMAs of this process the window has without mappings, at most.
    fn vmas_of_window(&self) -> u64 {
        0
    }

    /// How many VMAs of this process a mapping may cost: not 0, since the book must not grow without end either.
    fn vmas_per_mapping(&self) -> u64 {
        1
    }

    /// Whether [`Self::unmap`] takes more than one mapping at a time.
    fn unmaps_many(&self) -> bool {
        false
    }

    /// Shows a file in a hole.
    ///
    /// # Errors
    /// Any [`Failure`]; after `Refused` and `Emptied` the span is a hole, as before.
    fn map(&mut self, placement: &Placement) -> Result<(), Failure>;

    /// Makes a read-only mapping writable: `placement` is that mapping, with a descriptor to write through. Without a
    /// moment at which the guest finds it gone, where the hypervisor lets that be.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn upgrade(&mut self, placement: &Placement) -> Result<(), Failure>;

    /// Shows nothing in `span`, which holds the whole of `mappings`, in rising order, and else only holes. There is one
    /// mapping, and the span is its own, unless [`Self::unmaps_many`].
    ///
    /// # Errors
    /// Any [`Failure`].
    fn unmap(&mut self, span: Span, mappings: &[Mapping]) -> Result<(), Failure>;

    /// Where in this process the byte at `offset` is shown, if anywhere.
    fn host_address_at(&self, offset: WindowOffset) -> Option<usize> {
        self.host_address()?.checked_add(usize::try_from(offset.0).ok()?)
    }

    /// Fills `buffer` from the window.
    ///
    /// # Errors
    /// EFAULT where the window shows no byte of a file.
    fn read(&self, offset: WindowOffset, buffer: &mut [u8]) -> Result<(), Errno>;

    /// Stores `data` in the window.
    ///
    /// # Errors
    /// EFAULT where the window shows no byte of a file that may be written.
    fn write(&self, offset: WindowOffset, data: &[u8]) -> Result<(), Errno>;

    /// Takes the window itself from the guest; called once, last, when the mapper closes.
    ///
    /// # Errors
    /// What could not be given back, for the log.
    fn close(self: Box<Self>) -> Result<(), Refusal> {
        Ok(())
    }
}
