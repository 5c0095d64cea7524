//! The only module with system calls and `unsafe`. What leaves it is safe to call with any argument.
#![allow(unsafe_code)]

#[cfg_attr(target_os = "linux", path = "copy_linux.rs")]
#[cfg_attr(target_os = "macos", path = "copy_macos.rs")]
mod copy;
mod file;
mod file_range;
mod fork;
mod hvf;
#[cfg_attr(target_os = "linux", path = "mapped_file_linux.rs")]
#[cfg_attr(target_os = "macos", path = "mapped_file_macos.rs")]
mod mapped_file;
mod range;
mod residency;

#[cfg(target_os = "linux")]
mod kvm;
#[cfg(target_os = "linux")]
mod maps;
#[cfg(target_os = "linux")]
mod procfs;
#[cfg(target_os = "linux")]
mod reservation;
#[cfg(target_os = "linux")]
mod vma;

pub(crate) use copy::{READ_CALL, WRITE_CALL};
pub use file::FileId;
pub use file::access_refusal;
pub(crate) use file::{Identified, duplicate, identify, is_read_write, length, map_remedy};
pub(crate) use file_range::FileRange;
pub use fork::ForkGuard;
pub(crate) use hvf::Framework;
pub(crate) use mapped_file::{MappedFile, MappedFiles};
pub use range::{HostRange, HostSlice};
pub(crate) use residency::resident_pages;

#[cfg(test)]
pub(crate) use hvf::tests::{calls, stand_in};
#[cfg(target_os = "linux")]
pub use procfs::keep_proc_self;
#[cfg(all(test, target_os = "linux"))]
pub(crate) use {file::tests::sealed, fork::tests::holds_in_child, kvm::tests::vm};
#[cfg(target_os = "linux")]
pub(crate) use {
    file::{Filesystem, filesystem, regular_file},
    kvm::{Memslot, physical_address_bits},
    maps::{Seen, Shown, compare},
    procfs::open_descriptor,
    reservation::{HoleKind, Reservation},
};

use std::fmt;

/// An error number of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// What the calling thread's last failed system call left.
    fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }
}

impl std::error::Error for Errno {}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the number, which is said elsewhere: " (os error 13)".
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

/// The host's page size in bytes; 4096 where `sysconf` doesn't tell.
#[must_use]
pub fn page_size() -> u64 {
    // SAFETY: sysconf has no precondition.
    let answer = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(answer).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096)
}
