//! Copies that answer EFAULT where a plain load or store would be a signal: `process_vm_readv(2)` on oneself.
//!
//! Where a sandbox forbids that call, or the kernel is without it, `/proc/self/mem` (`proc_pid_mem(5)`) does the same. It
//! does more, too: it passes over the protection of private memory. Shared memory that is read-only it can't write, and
//! so no file that is not open for that; but holes can be read and written through it, and private memory that is
//! read-only. From these the callers keep away.

use super::Errno;
use super::procfs::proc_self;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What is asked to make a copy, for the message if all refuse.
pub(crate) const READ_CALL: &str = "process_vm_readv(2) and /proc/self/mem";
pub(crate) const WRITE_CALL: &str = "process_vm_writev(2) and /proc/self/mem";

type Transfer = unsafe extern "C" fn(
    libc::pid_t,
    *const libc::iovec,
    libc::c_ulong,
    *const libc::iovec,
    libc::c_ulong,
    libc::c_ulong,
) -> isize;

/// Fills `buffer` from `address`, in memory that can be read or shows a file.
pub(super) fn read(address: usize, buffer: &mut [u8]) -> Result<(), Errno> {
    match read_checked(address, buffer) {
        Err(errno) if is_forbidden(errno) => {
            let memory = open_memory(libc::O_RDONLY).ok_or(errno)?;
            memory.read_exact_at(buffer, address as u64).map_err(|error| fault(&error))
        }
        done => done,
    }
}

/// The same by the one call that minds the protection of all memory. That may be forbidden.
pub(super) fn read_checked(address: usize, buffer: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: the kernel writes to `buffer` alone, which is borrowed exclusively and `length` bytes long; it checks
    // `address` page by page, and answers EFAULT.
    unsafe { transfer(libc::process_vm_readv, buffer.as_mut_ptr().cast(), address, buffer.len()) }
}

/// Stores `data` at `address`.
///
/// # Safety
/// Nothing that Rust knows of may lie in `[address, address + data.len())`, which is memory that shows a file and may be
/// written.
pub(super) unsafe fn write(address: usize, data: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel only reads from `data`; what is stored to is the caller's to promise.
    let written = unsafe { transfer(libc::process_vm_writev, data.as_ptr().cast_mut().cast(), address, data.len()) };
    match written {
        Err(errno) if is_forbidden(errno) => {
            let memory = open_memory(libc::O_WRONLY).ok_or(errno)?;
            memory.write_all_at(data, address as u64).map_err(|error| fault(&error))
        }
        done => done,
    }
}

/// Whether a seccomp filter, or a kernel without `CONFIG_CROSS_MEMORY_ATTACH`, has refused the call itself.
fn is_forbidden(errno: Errno) -> bool {
    matches!(errno.0, libc::EPERM | libc::ENOSYS)
}

/// Opened for each copy: see `procfs.rs`.
fn open_memory(flags: libc::c_int) -> Option<File> {
    proc_self().and_then(|proc| proc.open_file(c"mem", flags)).ok().map(File::from)
}

/// It says EIO, or nothing more, of an address that can't be accessed.
fn fault(error: &io::Error) -> Errno {
    let errno = error.raw_os_error().filter(|errno| *errno != libc::EIO);
    Errno(errno.unwrap_or(libc::EFAULT))
}

/// Repeats a transfer until all is done: the kernel moves at most 2 GiB a call, and stops early at a fault.
///
/// # Safety
/// `local` is valid for `length` bytes in the direction of `call`; so is `remote`, or the kernel finds it invalid.
unsafe fn transfer(call: Transfer, local: *mut c_void, remote: usize, length: usize) -> Result<(), Errno> {
    // SAFETY: getpid has no precondition.
    let oneself = unsafe { libc::getpid() };
    let mut done = 0;
    while done < length {
        let left = length.saturating_sub(done);
        let here = libc::iovec { iov_base: local.wrapping_byte_add(done), iov_len: left };
        let there = libc::iovec { iov_base: remote.wrapping_add(done) as *mut c_void, iov_len: left };
        // SAFETY: as promised by the caller, for a part of the same ranges.
        let moved = unsafe { call(oneself, &raw const here, 1, &raw const there, 1, 0) };
        match usize::try_from(moved) {
            Ok(0) => return Err(Errno(libc::EFAULT)),
            Ok(bytes) => done = done.saturating_add(bytes),
            Err(_) => return Err(Errno::last()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{FileRange, HoleKind, Reservation, page_size};
    use std::os::fd::AsRawFd;

    /// The way of a sandboxed process, with what the module's first lines say of it.
    #[test]
    fn proc_self_mem_reads_and_writes_shared_files_as_their_mapping_allows() {
        let path = std::env::temp_dir().join(format!("daxmap-mem-{}", std::process::id()));
        std::fs::write(&path, b"old").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let page = usize::try_from(page_size()).unwrap();
        let mut window = Reservation::new(2 * page, page).unwrap();
        let range = FileRange { fd: file.as_raw_fd(), offset: 0, length: 2 * page };
        let start = window.range().start() as u64;
        let (reader, writer) = (open_memory(libc::O_RDONLY).unwrap(), open_memory(libc::O_WRONLY).unwrap());
        for (writable, expected, content) in [(false, Err(Errno(libc::EFAULT)), b"old"), (true, Ok(()), b"new")] {
            window.place(0, &range, writable).unwrap();
            assert_eq!(writer.write_all_at(b"new", start).map_err(|error| fault(&error)), expected);
            let mut read = [0; 3];
            reader.read_exact_at(&mut read, start).unwrap();
            assert_eq!(&read, content);
            file.read_exact_at(&mut read, 0).unwrap();
            assert_eq!(&read, content);
            let past_the_end = reader.read_exact_at(&mut [0], start + page as u64).map_err(|error| fault(&error));
            assert_eq!(past_the_end, Err(Errno(libc::EFAULT)));
        }
        assert!(reader.write_all_at(b"no", start).is_err(), "open for reading only");
        window.clear(0, 2 * page, HoleKind::Plain).unwrap();
        window.release().unwrap();
    }
}
