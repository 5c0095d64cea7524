//! What a file descriptor is of.

use super::Errno;
#[cfg(target_os = "linux")]
use super::page_size;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Identity of a file while it is in use: `st_dev` and `st_ino` of `fstat(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device that holds the file.
    pub dev: u64,
    /// Inode number on that device.
    pub ino: u64,
}

/// What [`identify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identified {
    Regular(FileId),
    /// A regular file of hugetlbfs.
    HugePages,
    Other(&'static str),
}

/// `fstat(2)`.
fn status(fd: RawFd) -> Result<libc::stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel checks `fd`, and writes at most a `struct stat` to the pointer, which is of one.
    let answer = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    if answer != 0 {
        return Err(Errno::last());
    }
    // SAFETY: fstat returned 0, so it filled the struct.
    Ok(unsafe { stat.assume_init() })
}

/// How long the file behind `fd` is, in bytes: `fstat(2)`.
pub(crate) fn length(fd: RawFd) -> Result<u64, Errno> {
    status(fd).map(|stat| u64::try_from(stat.st_size).unwrap_or(0))
}

/// Which file `fd` is of, if that is a regular one: `fstat(2)`.
#[cfg(target_os = "linux")]
pub(crate) fn regular_file(fd: RawFd) -> Result<Option<FileId>, Errno> {
    let stat = status(fd)?;
    Ok((stat.st_mode & libc::S_IFMT == libc::S_IFREG).then(|| file_id(&stat)))
}

/// `fstat(2)`: which file `fd` is of.
pub(crate) fn identify(fd: RawFd) -> Result<Identified, Errno> {
    let stat = status(fd)?;
    Ok(match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG if is_of_huge_pages(fd, u64::try_from(stat.st_blksize).unwrap_or(0)) => Identified::HugePages,
        libc::S_IFREG => Identified::Regular(file_id(&stat)),
        libc::S_IFDIR => Identified::Other("a directory"),
        libc::S_IFIFO => Identified::Other("a FIFO"),
        libc::S_IFSOCK => Identified::Other("a socket"),
        libc::S_IFCHR => Identified::Other("a character device"),
        libc::S_IFBLK => Identified::Other("a block device"),
        libc::S_IFLNK => Identified::Other("a symbolic link"),
        _ => Identified::Other("a file of no known type"),
    })
}

/// The least that a huge page has, in bytes: on arm64, with pages of 4 KiB (Documentation/arch/arm64/hugetlbpage.rst).
#[cfg(target_os = "linux")]
const SMALLEST_HUGE_PAGE: u64 = 64 << 10;

/// Whether the kernel would round a mapping of the file up to huge pages, `MAP_FIXED` or not, and so map more than it is
/// asked for. The blocks of such a file are its huge pages; those of most others are far smaller, or pages as tmpfs has
/// them, and then there is no need to ask.
#[cfg(target_os = "linux")]
fn is_of_huge_pages(fd: RawFd, block_size: u64) -> bool {
    // Where it can't be asked, in a sandbox say, it is taken for one.
    let may_be = block_size >= SMALLEST_HUGE_PAGE && block_size > page_size();
    may_be && !matches!(filesystem(fd), Ok(Filesystem::Fuse | Filesystem::Other))
}

#[cfg(not(target_os = "linux"))]
fn is_of_huge_pages(_fd: RawFd, _block_size: u64) -> bool {
    false
}

/// `st_dev` is a 64-bit number on Linux and a signed 32-bit one on macOS; what counts is that it keeps its bits.
#[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
fn file_id(stat: &libc::stat) -> FileId {
    FileId { dev: stat.st_dev as u64, ino: stat.st_ino }
}

/// Whether `fd` is open for both reading and writing. False where it can't be told.
pub(crate) fn is_read_write(fd: RawFd) -> bool {
    access_mode(fd) == Some(libc::O_RDWR)
}

/// What `mmap(2)` says of an `fd` that is open for too little to be mapped, before it touches anything: EACCES, or EBADF
/// where `fd` is a mere path.
#[must_use]
pub fn access_refusal(fd: RawFd, writable: bool) -> Option<Errno> {
    match access_mode(fd)? {
        PATH_ONLY => Some(Errno(libc::EBADF)),
        libc::O_WRONLY => Some(Errno(libc::EACCES)),
        libc::O_RDONLY if writable => Some(Errno(libc::EACCES)),
        _ => None,
    }
}

/// What is to be done about a file that `mmap(2)` would not map, or at least what it means.
#[must_use]
pub(crate) fn map_remedy(fd: RawFd, writable: bool, errno: Errno) -> Option<&'static str> {
    Some(match (errno.0, access_mode(fd)) {
        (libc::EBADF, Some(PATH_ONLY)) => "the descriptor is O_PATH: open the file with daxmap.reopen",
        (libc::EACCES, Some(libc::O_WRONLY)) => "the descriptor is open for writing only: open it for reading, too",
        (libc::EACCES, Some(libc::O_RDONLY)) if writable => {
            "the descriptor is open for reading only: open it for reading and writing"
        }
        (libc::EACCES, _) if writable => "the file may only be appended to (chattr +a)",
        (libc::EPERM, _) => "the file is sealed against writing (F_SEAL_WRITE, fcntl(2))",
        (libc::ENODEV | libc::EIO, _) => "its file system maps no such file (/proc and /sys don't)",
        (libc::ENOMEM, _) => {
            "the process may have no more memory areas or addresses: vm.max_map_count, RLIMIT_AS, RLIMIT_DATA"
        }
        (libc::EAGAIN, _) => "mlockall(MCL_FUTURE) is in force: RLIMIT_MEMLOCK, or the file is locked",
        _ => return None,
    })
}

/// The flag of a descriptor that is a mere path.
#[cfg(target_os = "linux")]
const PATH_ONLY: i32 = libc::O_PATH;
/// There is no such descriptor, and no flag.
#[cfg(not(target_os = "linux"))]
const PATH_ONLY: i32 = i32::MIN;

/// `O_RDONLY`, `O_WRONLY`, `O_RDWR` or [`PATH_ONLY`]: `F_GETFL` of `fcntl(2)`.
fn access_mode(fd: RawFd) -> Option<i32> {
    // SAFETY: the kernel checks `fd`; no memory is involved.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    let mode = if flags & PATH_ONLY != 0 { PATH_ONLY } else { flags & libc::O_ACCMODE };
    (flags >= 0).then_some(mode)
}

/// Kinds of file systems whose files are mapped with more care than others.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filesystem {
    /// hugetlbfs, or the memory of a memfd made with `MFD_HUGETLB`: the kernel rounds what is mapped up to huge pages.
    HugeTlb,
    /// FUSE: whether a file can be mapped is its server's to say, at each opening.
    Fuse,
    /// Any other.
    Other,
}

/// `fstatfs(2)`: which kind of file system `fd` is on. All files of one `st_dev` are on the same.
#[cfg(target_os = "linux")]
pub(crate) fn filesystem(fd: RawFd) -> Result<Filesystem, Errno> {
    let mut statfs = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel checks `fd`, and writes at most a `struct statfs` to the pointer, which is of one.
    let answer = unsafe { libc::fstatfs(fd, statfs.as_mut_ptr()) };
    if answer != 0 {
        return Err(Errno::last());
    }
    // SAFETY: fstatfs returned 0, so it filled the struct.
    let statfs = unsafe { statfs.assume_init() };
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)] // it is signed with glibc, and unsigned with musl
    let magic = statfs.f_type as libc::c_long;
    Ok(match magic {
        libc::HUGETLBFS_MAGIC => Filesystem::HugeTlb,
        libc::FUSE_SUPER_MAGIC => Filesystem::Fuse,
        _ => Filesystem::Other,
    })
}

/// A descriptor of one's own of the same open file: `F_DUPFD_CLOEXEC` of `fcntl(2)`.
pub(crate) fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the kernel checks the descriptor; no memory is involved.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(Errno::last());
    }
    // SAFETY: fcntl has just made the descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod tests {
    use super::*;
    use std::ffi::CStr;
    use std::fs::File;
    use std::io::pipe;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    fn memfd(name: &CStr, flags: libc::c_uint) -> Option<OwnedFd> {
        // SAFETY: the name ends with a NUL.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        // SAFETY: memfd_create has just made the descriptor.
        (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// A file of so many bytes, open for reading and writing, that nobody can write to any more (`F_SEAL_WRITE`).
    pub(crate) fn sealed(length: u64) -> OwnedFd {
        let file = File::from(memfd(c"sealed", libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING).unwrap());
        file.set_len(length).unwrap();
        // SAFETY: the kernel checks its arguments; no memory is involved.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) }, 0);
        file.into()
    }

    /// A file of the kind that `path` leads to, open as a mere path.
    fn held(path: impl AsRef<Path>) -> File {
        File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path).unwrap()
    }

    #[test]
    fn every_kind_of_file_is_known() {
        let kind = |file: &dyn AsRawFd| match identify(file.as_raw_fd()) {
            Ok(Identified::Other(kind)) => kind,
            other => panic!("{other:?}"),
        };
        let (pipe, _writer) = pipe().unwrap();
        let (socket, _) = UnixStream::pair().unwrap();
        assert_eq!([kind(&held("/")), kind(&held("/dev/null"))], ["a directory", "a character device"]);
        assert_eq!([kind(&pipe), kind(&socket)], ["a FIFO", "a socket"]);
        assert_eq!(kind(&held("/proc/self/exe")), "a symbolic link");
        let devices = std::fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap());
        let mut block_devices = devices.filter(|entry| entry.file_type().unwrap().is_block_device());
        assert!(block_devices.next().is_none_or(|device| kind(&held(device.path())) == "a block device"));
        assert_eq!(identify(-1), Err(Errno(libc::EBADF)));
        let file = File::open(std::env::current_exe().unwrap()).unwrap();
        let of = file.metadata().unwrap();
        let id = FileId { dev: of.dev(), ino: of.ino() };
        assert_eq!((identify(file.as_raw_fd()), length(file.as_raw_fd())), (Ok(Identified::Regular(id)), Ok(of.len())));
        assert_eq!([regular_file(file.as_raw_fd()), regular_file(pipe.as_raw_fd())], [Ok(Some(id)), Ok(None)]);
    }

    #[test]
    fn what_mmap_will_refuse_is_known_and_has_a_remedy() {
        let path = std::env::temp_dir().join(format!("daxmap-access-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        let open =
            |read, write, flags| File::options().read(read).write(write).custom_flags(flags).open(&path).unwrap();
        let [read, write, both, mere] =
            [open(true, false, 0), open(false, true, 0), open(true, true, 0), open(true, false, libc::O_PATH)];
        std::fs::remove_file(&path).unwrap();
        let [badf, acces] = [libc::EBADF, libc::EACCES].map(|errno| Some(Errno(errno)));
        for (file, to_read, to_write) in
            [(&read, None, acces), (&write, acces, acces), (&both, None, None), (&mere, badf, badf)]
        {
            assert_eq!([false, true].map(|writable| access_refusal(file.as_raw_fd(), writable)), [to_read, to_write]);
        }
        assert_eq!(access_refusal(-1, false), None);
        assert_eq!(
            [&read, &write, &both, &mere].map(|file| is_read_write(file.as_raw_fd())),
            [false, false, true, false]
        );
        for (file, writable, errno, remedy) in [
            (&mere, false, libc::EBADF, "the descriptor is O_PATH"),
            (&write, false, libc::EACCES, "the descriptor is open for writing only"),
            (&read, true, libc::EACCES, "the descriptor is open for reading only"),
            (&both, true, libc::EACCES, "the file may only be appended to"),
            (&both, true, libc::EPERM, "the file is sealed"),
            (&both, true, libc::ENODEV, "its file system maps no such file"),
            (&both, true, libc::EIO, "its file system maps no such file"),
            (&both, true, libc::ENOMEM, "the process may have no more memory areas"),
            (&both, true, libc::EAGAIN, "mlockall(MCL_FUTURE) is in force"),
        ] {
            let told = map_remedy(file.as_raw_fd(), writable, Errno(errno)).unwrap();
            assert!(told.starts_with(remedy), "{told}");
        }
        for (file, errno) in [(&read, libc::EACCES), (&read, libc::EBADF), (&both, libc::EINVAL)] {
            assert_eq!(map_remedy(file.as_raw_fd(), false, Errno(errno)), None);
        }
    }

    #[test]
    fn a_file_system_that_cannot_be_asked_is_taken_for_one_of_huge_pages() {
        for (block_size, is_huge) in
            [(0, false), (page_size(), false), (SMALLEST_HUGE_PAGE - 1, false), (2 << 20, true)]
        {
            assert_eq!(is_of_huge_pages(-1, block_size), is_huge, "{block_size}");
        }
        let plain = memfd(c"plain", libc::MFD_CLOEXEC).unwrap();
        assert!(!is_of_huge_pages(plain.as_raw_fd(), 2 << 20));
    }

    #[test]
    fn a_duplicate_is_of_the_same_file_and_not_for_other_programs() {
        let file = File::open("/dev/null").unwrap();
        let copy = duplicate(file.as_raw_fd()).unwrap();
        assert_ne!(copy.as_raw_fd(), file.as_raw_fd());
        // SAFETY: the kernel checks the descriptor; no memory is involved.
        assert_eq!(unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_GETFD) }, libc::FD_CLOEXEC);
        assert_eq!(File::from(copy).metadata().unwrap().rdev(), file.metadata().unwrap().rdev());
        assert_eq!(duplicate(-1).unwrap_err(), Errno(libc::EBADF));
    }

    #[test]
    fn huge_memfd_is_told_from_others() {
        let plain = memfd(c"plain", libc::MFD_CLOEXEC).unwrap();
        assert_eq!(filesystem(plain.as_raw_fd()), Ok(Filesystem::Other));
        assert_eq!(filesystem(File::open("/proc/self/maps").unwrap().as_raw_fd()), Ok(Filesystem::Other));
        assert_eq!(filesystem(-1), Err(Errno(libc::EBADF)));
        for size in [0, libc::MFD_HUGE_2MB, libc::MFD_HUGE_1GB] {
            match memfd(c"huge", libc::MFD_CLOEXEC | libc::MFD_HUGETLB | size) {
                Some(huge) => {
                    assert_eq!(identify(huge.as_raw_fd()), Ok(Identified::HugePages));
                    assert_eq!(filesystem(huge.as_raw_fd()), Ok(Filesystem::HugeTlb));
                }
                // ENODEV where the host has no such pages.
                None => assert!([libc::ENODEV, libc::EINVAL].contains(&Errno::last().0), "{}", Errno::last()),
            }
        }
    }
}
