//! Ranges of files, mapped into host memory wherever there is room.

use super::{Errno, HostRange};
use std::os::fd::RawFd;

/// A range of a file, as a mapping asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRange {
    pub(crate) fd: RawFd,
    pub(crate) offset: u64,
    pub(crate) length: usize,
}

impl FileRange {
    pub(super) fn offset(&self) -> Result<libc::off_t, Errno> {
        self.offset.try_into().map_err(|_| Errno(libc::EOVERFLOW))
    }

    /// Maps the range wherever there is room, the host side always readable and writable. What is stored there reaches
    /// the file if it is `shared`, and nobody if it is not.
    pub(crate) fn map(&self, shared: bool) -> Result<HostRange, Errno> {
        let sharing = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_NORESERVE };
        HostRange::map(self.length, libc::PROT_READ | libc::PROT_WRITE, sharing, self.fd, self.offset()?)
    }

    /// Maps the range somewhere and takes it away again: whether the file can be mapped, at no risk to any window.
    pub(crate) fn probe(&self, writable: bool) -> Result<(), Errno> {
        let range = HostRange::map(self.length, protection(writable), libc::MAP_SHARED, self.fd, self.offset()?)?;
        range.release().map_err(|(_, errno)| errno)
    }
}

/// The protection of a mapping that a guest sees.
pub(super) fn protection(writable: bool) -> i32 {
    if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_probe_says_what_a_mapping_would_come_to() {
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let range = FileRange { fd: file.as_raw_fd(), offset: 0, length: 1 };
        assert_eq!([false, true].map(|writable| range.probe(writable)), [Ok(()), Err(Errno(libc::EACCES))]);
        assert_eq!(FileRange { offset: 1 << 63, ..range }.probe(false), Err(Errno(libc::EOVERFLOW)));
    }
}
