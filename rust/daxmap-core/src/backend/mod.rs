//! How a guest is shown memory. The trait between mapper and backend is small: policy and book are the mapper's.

mod claim;
mod hvf;
mod hypervisor;
mod pins;
mod stepwise;

#[cfg(target_os = "linux")]
mod host_window;
#[cfg(target_os = "linux")]
mod kvm;

pub use claim::Claim;
pub use hvf::{FRAMEWORK, HvfBackend};
pub use hypervisor::{Access, HostMemory, Hypervisor, HypervisorBackend, HypervisorSteps};
pub use pins::{Pin, Pins};
pub use stepwise::{Steps, Stepwise, View};
#[cfg(target_os = "linux")]
pub use {host_window::HostWindowBackend, kvm::KvmBackend};

use crate::addr::{FileOffset, Span, WindowOffset};
use crate::book::Mapping;
use crate::budget::Charge;
use crate::refusal::Refusal;
use crate::sys::{Errno, FileId};
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

/// What a backend is asked to do: from now on, `span` shows `new` in place of the parts of `old` that lie in it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The range that changes.
    pub span: Span,
    /// The mappings that lie in it, wholly or in part, by rising window offset. What lies outside the span goes on
    /// showing what it shows.
    pub old: &'a [Mapping],
    /// What is shown, in just this span; nothing where it is `None`.
    pub new: Option<&'a Placement>,
}

impl Change<'_> {
    /// The mapping whose access the change alters, if it does nothing else: same range, same bytes of the same file.
    #[must_use]
    pub fn alters_access_of(&self) -> Option<&Mapping> {
        let ([old], Some(new)) = (self.old, self.new) else { return None };
        let wanted = Mapping::from(new);
        (old.writable != wanted.writable && Mapping { writable: wanted.writable, ..*old } == wanted).then_some(old)
    }
}

/// What the guest sees after a change that failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// What it saw before.
    Unchanged(Refusal),
    /// What it saw before, but for some ranges.
    Lost {
        /// Why.
        cause: Refusal,
        /// What is no longer shown, or unknown: whole old mappings, or the span of the change.
        gone: Vec<Span>,
        /// Whether it may see the new mapping. Its memory is kept until that is settled.
        new_is_unknown: bool,
    },
    /// It may see memory that is not the window's. The mapper closes.
    OutOfControl(Refusal),
}

/// Keeps host memory where it is until it is dropped, whatever becomes of the mapping that shows it.
pub type Hold = Box<dyn Debug + Send + Sync>;

/// Makes mappings visible to one guest.
///
/// The mapper calls one method at a time, under its lock, with spans that it has checked: inside the window and
/// page-aligned. What is to be logged goes into `notes`, since the caller has a lock.
pub trait Backend: Debug + Send {
    /// Where the window lies in this process, if it is one range of host addresses.
    fn host_address(&self) -> Option<usize> {
        None
    }

    /// How many VMAs of this process the window would have now without mappings, at most.
    fn vmas_of_window(&self) -> u64 {
        0
    }

    /// How many VMAs of this process a mapping may cost: 0 only under a mapper with `max_mappings`, since the book must not
    /// grow without end either.
    fn vmas_per_mapping(&self) -> u64 {
        1
    }

    /// Whether a change is one step, however many mappings lie in its span. Where it is not, the mapper removes them one
    /// at a time.
    fn changes_at_once(&self) -> bool {
        false
    }

    /// Makes a change. A page that shows the same before and after stays there for a guest that looks meanwhile, and a
    /// page that changes shows the one or the other, where the hypervisor lets that be.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn change(&mut self, change: &Change<'_>, notes: &mut Vec<String>) -> Result<(), Failure>;

    /// Finds out about the ranges in `span` of which it is unknown whether the guest sees them: afterwards it surely
    /// does not.
    ///
    /// # Errors
    /// Why some are unknown still.
    fn settle(&mut self, _span: Span, _notes: &mut Vec<String>) -> Result<(), Refusal> {
        Ok(())
    }

    /// Has the next mappings of `file` made from the descriptors that come with them: it may be another file underneath
    /// by now, with the same identity.
    fn renew(&mut self, _file: FileId) {}

    /// How many ranges are unknown. Each is charged like a mapping.
    fn unsettled(&self) -> u64 {
        0
    }

    /// Whether the guest may see memory that is not the window's.
    fn is_out_of_control(&self) -> bool {
        false
    }

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

    /// Keeps the host memory that `span` shows until the result is dropped, even when a later change takes it from the
    /// guest: nothing else is mapped at its addresses ([`Self::host_address_at`]) meanwhile. Mappings hold all of `span`.
    /// `None` where the memory is not this process's.
    fn hold(&self, _span: Span) -> Option<Vec<Hold>> {
        None
    }

    /// Takes the window itself from the guest; called once, last, when the mapper closes. `charge` is for what the guest
    /// would not give up. Returns whether all of that is gone now, and the charge with it; by default nothing is, for the
    /// life of the process.
    fn close(self: Box<Self>, charge: Charge, _notes: &mut Vec<String>) -> bool {
        std::mem::forget(charge);
        false
    }
}

impl From<&Placement> for Mapping {
    fn from(placement: &Placement) -> Self {
        let Placement { span, file_offset, file, writable, .. } = *placement;
        Self { span, file_offset, file, writable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    /// A backend that says no more than it has to.
    #[derive(Debug)]
    struct Terse;

    impl Backend for Terse {
        fn change(&mut self, _: &Change<'_>, _: &mut Vec<String>) -> Result<(), Failure> {
            Ok(())
        }

        fn read(&self, _: WindowOffset, _: &mut [u8]) -> Result<(), Errno> {
            Ok(())
        }

        fn write(&self, _: WindowOffset, _: &[u8]) -> Result<(), Errno> {
            Ok(())
        }
    }

    #[test]
    fn what_a_backend_does_not_say_is_the_careful_answer() {
        static BUDGET: Budget = Budget::new(4);
        let (mut backend, mut charge) = (Terse, Charge::of(&BUDGET));
        let (span, mut notes) = (Span::new(WindowOffset(0), 4096).unwrap(), Vec::new());
        assert_eq!((backend.host_address(), backend.host_address_at(WindowOffset(0))), (None, None));
        assert_eq!((backend.vmas_of_window(), backend.vmas_per_mapping(), backend.unsettled()), (0, 1, 0));
        assert!(!backend.changes_at_once() && !backend.is_out_of_control() && backend.hold(span).is_none());
        assert!(backend.settle(span, &mut notes).is_ok());
        assert!(charge.try_grow(3));
        assert!(!Box::new(backend).close(charge, &mut notes), "the guest may reach it for ever");
        assert_eq!(BUDGET.used(), 3);
    }

    #[test]
    fn another_file_is_no_change_of_access() {
        let span = Span::new(WindowOffset(0), 4096).unwrap();
        let file = FileId { dev: 1, ino: 2 };
        let of = |file, file_offset, writable| {
            let (fd, file_offset, prefault) = (-1, FileOffset(file_offset), false);
            let new = Placement { span, fd, file, file_offset, writable, prefault };
            let old = [Mapping { span, file: FileId { dev: 1, ino: 2 }, file_offset: FileOffset(0), writable: false }];
            Change { span, old: &old, new: Some(&new) }.alters_access_of().is_some()
        };
        assert!(of(file, 0, true));
        assert!(!of(FileId { dev: 3, ..file }, 0, true), "the same number on another device");
        assert!(!of(FileId { ino: 4, ..file }, 0, true));
        assert!(!of(file, 4096, true));
    }
}
