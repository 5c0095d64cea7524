//! A hypervisor that maps host memory wherever it is told to: Hypervisor.framework, or a VMM's own CPU.

use super::stepwise::{Steps, Stepwise, View};
use super::{Hold, Placement};
use crate::addr::{GuestAddress, Span};
use crate::records::LOG_TARGET;
use crate::refusal::Refusal;
use crate::sys::{Errno, FileRange, HostRange, HostSlice, is_read_write};
use crate::window::Window;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// What a guest may do with memory.
///
/// FUSE carries no execute flag, yet guests run programs from their shares: so what can be read can be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load and execute.
    ReadExecute,
    /// Load, store and execute.
    ReadWriteExecute,
}

impl Access {
    fn new(writable: bool) -> Self {
        if writable { Self::ReadWriteExecute } else { Self::ReadExecute }
    }

    /// As hypervisors write it: read 1, write 2, execute 4.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::ReadExecute => 1 | 4,
            Self::ReadWriteExecute => 1 | 2 | 4,
        }
    }
}

/// The calls of a hypervisor. Each is one step: what it refuses it has not done, unless the refusal is
/// [in doubt](Refusal::is_in_doubt).
///
/// # Examples
/// ```
/// use daxmap_core::{Access, FileOffset, GuestAddress, HostSlice, Hypervisor, HypervisorBackend};
/// use daxmap_core::{MapRequest, Mapper, Options, Overlap, Refusal, WindowOffset};
/// # use std::os::fd::AsRawFd;
///
/// /// Tells what it is asked for. A real one makes the call of its hypervisor there.
/// #[derive(Debug)]
/// struct Teller;
///
/// impl Hypervisor for Teller {
///     fn map(&mut self, memory: HostSlice<'_>, guest: GuestAddress, access: Access) -> Result<(), Refusal> {
///         println!("{:#x} bytes at {guest} show host address {:#x}: {access:?}", memory.length(), memory.start());
///         Ok(())
///     }
///
///     fn unmap(&mut self, guest: GuestAddress, length: u64) -> Result<(), Refusal> {
///         println!("{length:#x} bytes at {guest} show nothing");
///         Ok(())
///     }
///
///     fn protect(&mut self, _: GuestAddress, _: u64, _: Access) -> Option<Result<(), Refusal>> {
///         None // an upgrade is an unmap and a map
///     }
/// }
///
/// let mapper = Mapper::new(GuestAddress(1 << 32), 2 << 20, Options::default(), |window| {
///     Ok(Box::new(HypervisorBackend::over(Teller, window, false)))
/// })?;
/// # let file = std::fs::File::open(std::env::current_exe()?)?;
/// # let (file_offset, window_offset, length) = (FileOffset(0), WindowOffset(0), mapper.page_size());
/// let request = MapRequest { file_offset, window_offset, length, writable: false };
/// mapper.setup(file.as_raw_fd(), &request, Overlap::Refuse)?;
/// mapper.drain_all()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Hypervisor: Debug + Send {
    /// Shows `memory` at `guest`, which is unused, as far as is known: an `unmap` there may have failed in doubt. It stays
    /// valid until `unmap`, or another `map` in its place, has succeeded.
    ///
    /// # Errors
    /// A [`Refusal`]: the guest does not reach the memory.
    fn map(&mut self, memory: HostSlice<'_>, guest: GuestAddress, access: Access) -> Result<(), Refusal>;

    /// Takes `[guest, +length)` from the guest, which one `map` gave it.
    ///
    /// # Errors
    /// A [`Refusal`]: the guest may still reach it.
    fn unmap(&mut self, guest: GuestAddress, length: u64) -> Result<(), Refusal>;

    /// Changes what the guest may do with `[guest, +length)`, which one `map` gave it; `None` where the hypervisor has
    /// no such call.
    ///
    /// # Errors
    /// A [`Refusal`]: the access is the old one.
    fn protect(&mut self, guest: GuestAddress, length: u64, access: Access) -> Option<Result<(), Refusal>>;
}

/// Host memory that shows a range of a file.
#[derive(Debug)]
pub struct HostMemory {
    range: HostRange,
    /// Whether stores reach the file.
    shared: bool,
}

/// Host memory that is held.
#[derive(Debug)]
struct Held(Option<Arc<HostMemory>>);

impl Drop for Held {
    fn drop(&mut self) {
        // The last of those who had it: neither the guest sees it, nor does anybody else hold it.
        let Some(memory) = self.0.take().and_then(Arc::into_inner) else { return };
        if let Err((range, errno)) = memory.range.release() {
            let length = range.length();
            log::warn!(target: LOG_TARGET, "{length:#x} bytes of host memory stay mapped, unused: {errno}");
        }
    }
}

/// The steps of a [`Hypervisor`]: host memory is mapped anywhere, then shown to the guest.
///
/// The host side is always readable and writable, since Apple silicon wants a writable host address. So that a
/// read-only request never reaches the file, its memory is private where the file may not be written anyway; where it
/// may, it is shared, so that the upgrade is one `protect`, without a gap.
#[derive(Debug)]
pub struct HypervisorSteps<H> {
    hypervisor: H,
    window: Window,
    /// Nothing is ever written through this window.
    readonly: bool,
}

/// The backend over a [`Hypervisor`].
pub type HypervisorBackend<H> = Stepwise<HypervisorSteps<H>>;

impl<H: Hypervisor> HypervisorBackend<H> {
    /// A backend for `window`; `readonly` is that of the mapper.
    pub fn over(hypervisor: H, window: &Window, readonly: bool) -> Self {
        Self::new(HypervisorSteps { hypervisor, window: *window, readonly })
    }
}

impl<H> HypervisorSteps<H> {
    fn guest_address(&self, span: Span) -> GuestAddress {
        self.window.address_of(span.start())
    }
}

/// The range of a file that a placement shows.
fn file_range(placement: &Placement) -> Result<FileRange, Errno> {
    let length = usize::try_from(placement.span.length()).map_err(|_| Errno(libc::ENOMEM))?;
    Ok(FileRange { fd: placement.fd, offset: placement.file_offset.0, length })
}

impl<H: Hypervisor> Steps for HypervisorSteps<H> {
    type Source = HostMemory;

    fn open(&mut self, placement: &Placement) -> Result<(Arc<HostMemory>, u64), Errno> {
        let file = file_range(placement)?;
        let shared = placement.writable || (!self.readonly && is_read_write(placement.fd));
        let memory = match file.map(shared) {
            Ok(range) => HostMemory { range, shared },
            // A read-only request needs no more: of a sealed memfd, say, or an append-only file.
            Err(_) if shared && !placement.writable => HostMemory { range: file.map(false)?, shared: false },
            Err(errno) => return Err(errno),
        };
        Ok((Arc::new(memory), 0))
    }

    fn map(&mut self, view: &View<HostMemory>, _new: Option<&Placement>) -> Result<(), Refusal> {
        let length = usize::try_from(view.span.length()).map_err(|_| Errno(libc::EINVAL))?;
        let memory = view.source.range.slice(view.position, length)?;
        self.hypervisor.map(memory, self.guest_address(view.span), Access::new(view.writable))
    }

    fn unmap(&mut self, span: Span) -> Result<(), Refusal> {
        self.hypervisor.unmap(self.guest_address(span), span.length())
    }

    fn protect(&mut self, view: &mut View<HostMemory>, placement: &Placement) -> Option<Result<(), Refusal>> {
        if !view.source.shared {
            return None;
        }
        // What mmap says of the descriptor holds here too: too little access, a seal.
        if let Err(errno) = file_range(placement).and_then(|file| file.probe(placement.writable)) {
            return Some(Err(errno.into()));
        }
        self.hypervisor.protect(self.guest_address(view.span), view.span.length(), Access::new(placement.writable))
    }

    fn unprotect(&mut self, view: &View<HostMemory>) -> Result<(), Refusal> {
        let (guest, length) = (self.guest_address(view.span), view.span.length());
        self.hypervisor.protect(guest, length, Access::new(view.writable)).unwrap_or(Err(Errno(libc::EIO).into()))
    }

    fn close(&mut self, source: HostMemory) -> Result<(), Errno> {
        source.range.release().map_err(|(_, errno)| errno)
    }

    /// A mapping that is cut keeps no host memory that the guest does not see: it could be cut to a page again and again,
    /// and use up this process's addresses.
    fn divide(
        &mut self,
        source: Arc<HostMemory>,
        parts: &[Range<u64>],
        notes: &mut Vec<String>,
    ) -> Vec<(Arc<HostMemory>, u64)> {
        let HostMemory { range: mut rest, shared } = match Arc::try_unwrap(source) {
            Ok(memory) => memory,
            // An unknown range needs it too.
            Err(kept) => return parts.iter().map(|part| (Arc::clone(&kept), part.start)).collect(),
        };
        let mut reached = 0;
        let mut divided = Vec::new();
        let mut unused = Vec::new();
        for part in parts {
            // Positions in host memory, which fit.
            let skipped = usize::try_from(part.start.saturating_sub(reached)).unwrap_or(usize::MAX);
            let length = usize::try_from(part.end.saturating_sub(part.start)).unwrap_or(usize::MAX);
            let (between, from_part) = rest.split(skipped);
            let (range, after) = from_part.split(length);
            divided.push((Arc::new(HostMemory { range, shared }), 0));
            unused.push(between);
            (rest, reached) = (after, part.end);
        }
        unused.push(rest);
        for range in unused {
            if let Err((range, errno)) = range.release() {
                notes.push(format!("{:#x} bytes of host memory stay mapped, unused: {errno}", range.length()));
            }
        }
        divided
    }

    fn host_address(&self, source: &HostMemory, position: u64) -> Option<usize> {
        source.range.start().checked_add(usize::try_from(position).ok()?)
    }

    fn hold(&self, source: &Arc<HostMemory>) -> Option<Hold> {
        Some(Box::new(Held(Some(Arc::clone(source)))))
    }

    fn read(&self, source: &HostMemory, position: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        source.range.read(position, buffer)
    }

    fn write(&self, source: &HostMemory, position: u64, data: &[u8]) -> Result<(), Errno> {
        source.range.write(position, data)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::addr::{FileOffset, WindowOffset};
    use crate::sys::{FileId, page_size, sealed};
    use std::os::fd::AsRawFd;

    #[derive(Debug)]
    struct Nobody;

    impl Hypervisor for Nobody {
        fn map(&mut self, _: HostSlice<'_>, _: GuestAddress, _: Access) -> Result<(), Refusal> {
            Ok(())
        }

        fn unmap(&mut self, _: GuestAddress, _: u64) -> Result<(), Refusal> {
            Ok(())
        }

        fn protect(&mut self, _: GuestAddress, _: u64, _: Access) -> Option<Result<(), Refusal>> {
            None
        }
    }

    /// Whether host memory of `fd` is shared, for a window and a placement of these kinds; or what `mmap` said.
    fn is_shared(fd: &impl AsRawFd, readonly: bool, writable: bool) -> Result<bool, Errno> {
        let window = Window::new(GuestAddress(0), 2 << 20).unwrap();
        let mut steps = HypervisorSteps { hypervisor: Nobody, window, readonly };
        let (span, file) = (Span::new(WindowOffset(0), page_size()).unwrap(), FileId { dev: 1, ino: 2 });
        let (fd, file_offset) = (fd.as_raw_fd(), FileOffset(0));
        let (memory, position) = steps.open(&Placement { span, fd, file, file_offset, writable, prefault: false })?;
        assert_eq!(position, 0);
        let memory = Arc::into_inner(memory).unwrap();
        let shared = memory.shared;
        steps.close(memory).map(|()| shared)
    }

    #[test]
    fn memory_is_shared_where_the_guest_may_ever_store_to_the_file() {
        let path = std::env::temp_dir().join(format!("daxmap-shared-{}", std::process::id()));
        std::fs::write(&path, vec![0; usize::try_from(page_size()).unwrap()]).unwrap();
        let both = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let read_only = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(is_shared(&both, false, true), Ok(true));
        assert_eq!(is_shared(&both, false, false), Ok(true), "so that an upgrade is one call");
        assert_eq!(is_shared(&both, true, false), Ok(false));
        assert_eq!(is_shared(&read_only, false, false), Ok(false));
        assert_eq!(is_shared(&read_only, false, true), Err(Errno(libc::EACCES)));
        let sealed = sealed(page_size());
        assert_eq!(is_shared(&sealed, false, false), Ok(false), "to read it, private memory does");
        assert_eq!(is_shared(&sealed, false, true), Err(Errno(libc::EPERM)));
    }

    #[test]
    fn what_is_read_can_be_executed() {
        assert_eq!([Access::ReadExecute, Access::ReadWriteExecute].map(Access::bits), [0b101, 0b111]);
    }
}
