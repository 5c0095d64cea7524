//! What is known of a mapped file, where nobody has a descriptor of it any more.

use super::procfs::{ProcSelf, proc_self};
use super::{Errno, FileId, maps};
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The file that is mapped at an address, as the kernel knows it.
#[derive(Debug)]
pub(crate) struct MappedFile {
    /// The name below `/proc/self` of a link to it.
    link: CString,
}

impl MappedFile {
    /// What is mapped at `address`; `None` where the kernel doesn't tell.
    pub(crate) fn at(address: usize) -> Option<Self> {
        maps::vma_at(proc_self().ok()?, address).ok()?.and_then(|vma| Self::of(&vma))
    }

    fn of(vma: &Range<usize>) -> Option<Self> {
        CString::new(format!("map_files/{:x}-{:x}", vma.start, vma.end)).ok().map(|link| Self { link })
    }

    /// Its length in bytes, if it is `file`.
    ///
    /// The kernel tells a process that may look through `/proc/self/map_files` (`CAP_CHECKPOINT_RESTORE`,
    /// `proc_pid_map_files(5)`), and any other if the path that the file was opened by still leads to it. Never waits for a
    /// file system's server.
    pub(crate) fn length(&self, file: FileId) -> Option<u64> {
        let proc = proc_self().ok()?;
        let opened = proc.open_file(&self.link, libc::O_PATH).or_else(|_| open_by_path(proc, &self.link)).ok()?;
        let (found, length) = cached_status(opened.as_raw_fd()).ok()?;
        (found == file).then_some(length)
    }

    /// Its path: what it was opened by, as renames have changed it since, and with " (deleted)" behind it where it is gone
    /// (`d_path(9)`). No privilege is needed to read it.
    pub(crate) fn path(&self) -> Option<CString> {
        proc_self().ok()?.read_link(&self.link).ok()
    }
}

/// The files that are mapped, for those who ask of many addresses.
#[derive(Debug)]
pub(crate) struct MappedFiles {
    /// Rising. Read once, from a kernel that answers no query; `None` where it does.
    listed: Option<Vec<Range<usize>>>,
}

impl MappedFiles {
    /// Those of now, at least.
    pub(crate) fn new() -> Self {
        Self { listed: proc_self().ok().and_then(maps::unless_queried) }
    }

    /// As [`MappedFile::at`].
    pub(crate) fn at(&self, address: usize) -> Option<MappedFile> {
        let Some(listed) = &self.listed else { return MappedFile::at(address) };
        let next = listed.partition_point(|vma| vma.end <= address);
        listed.get(next).filter(|vma| vma.contains(&address)).and_then(MappedFile::of)
    }
}

/// `struct open_how` of include/uapi/linux/openat2.h.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Opens, as a mere path, what the path leads to that a link shows. The kernel has all of a mapped file's path in its
/// cache: if it would have to look further, or to follow a link, the path leads elsewhere by now.
fn open_by_path(proc: &ProcSelf, link: &CStr) -> Result<OwnedFd, Errno> {
    let path = proc.read_link(link)?;
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let resolve = libc::RESOLVE_CACHED | libc::RESOLVE_NO_SYMLINKS;
    let how = OpenHow { flags: u64::from(flags.unsigned_abs()), mode: 0, resolve };
    // SAFETY: `path` ends with a NUL, and the kernel reads as many bytes from `how` as it is told.
    let fd = unsafe {
        libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size_of::<OpenHow>())
    };
    let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(Errno::last)?;
    // SAFETY: openat2 has just made the descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Identity and length of a file as the kernel knows them, which is what it goes by when it brings a page in: `statx(2)`
/// that asks no server.
fn cached_status(fd: RawFd) -> Result<(FileId, u64), Errno> {
    let mut status = MaybeUninit::<libc::statx>::uninit();
    let (flags, wanted) = (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC, libc::STATX_INO | libc::STATX_SIZE);
    // SAFETY: the path ends with a NUL, and the kernel writes at most a `struct statx` to the pointer, which is of one.
    let answer = unsafe { libc::statx(fd, c"".as_ptr(), flags, wanted, status.as_mut_ptr()) };
    if answer != 0 {
        return Err(Errno::last());
    }
    // SAFETY: statx returned 0, so it filled the struct.
    let status = unsafe { status.assume_init() };
    let dev = libc::makedev(status.stx_dev_major, status.stx_dev_minor);
    Ok((FileId { dev, ino: status.stx_ino }, status.stx_size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{FileRange, Identified, identify, page_size};
    use std::fs::{self, File};

    fn identity(file: &File) -> FileId {
        match identify(file.as_raw_fd()) {
            Ok(Identified::Regular(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn length_is_that_of_the_very_file_or_not_told() {
        let proc = proc_self().unwrap();
        let path = std::env::temp_dir().join(format!("daxmap-length-{}", std::process::id()));
        fs::write(&path, [7; 5000]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let range = FileRange { fd: file.as_raw_fd(), offset: 0, length: 4 * usize::try_from(page_size()).unwrap() };
        let memory = range.map(true).unwrap();
        let (id, other) = (identity(&file), FileId { ino: 0, ..identity(&file) });
        let mapped = MappedFile::at(memory.start()).unwrap();
        let listed = MappedFiles { listed: Some(maps::ranges(proc).unwrap()) };
        let by_path = |expected: Option<FileId>| {
            let found = open_by_path(proc, &mapped.link).and_then(|fd| cached_status(fd.as_raw_fd())).ok();
            assert_eq!(found.map(|(found, _)| found), expected);
        };

        assert_eq!(mapped.length(id), Some(5000));
        for address in [memory.start(), memory.start() + memory.length() - 1] {
            assert_eq!(listed.at(address).unwrap().link, mapped.link);
        }
        assert!(listed.at(0).is_none());
        by_path(Some(id));
        assert_eq!(mapped.path().unwrap().to_str().ok(), path.to_str());
        assert!(MappedFile::at(0).is_none());
        file.set_len(6000).unwrap();
        assert_eq!(mapped.length(id), Some(6000));
        assert_eq!(mapped.length(other), None);

        fs::remove_file(&path).unwrap();
        by_path(None);
        assert!(mapped.path().unwrap().to_bytes().ends_with(b" (deleted)"));
        fs::write(&path, [7; 10]).unwrap();
        assert_ne!(mapped.length(id), Some(10), "another file of that name");
        fs::remove_file(path).unwrap();
        memory.release().unwrap();
    }
}
