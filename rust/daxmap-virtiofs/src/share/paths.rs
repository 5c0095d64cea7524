//! Steps in the exported tree: from a directory to an entry of it, and nowhere else.

use rustix::fd::{AsFd, OwnedFd, RawFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, statx};
use std::ffi::CStr;
use std::io;

/// The most steps from a directory down to a file, or up to the root.
pub(crate) const DEEPEST: usize = 4096;

/// How an entry is opened: the entry itself, a symbolic link too, and never what is mounted on it.
const STEP: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV)
    .union(ResolveFlags::NO_MAGICLINKS);

/// What tells a file from all others, those that were or will be included: its device, its inode number, and when it was
/// made. Where that is not known, a number used again is at least not taken for a file of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    dev: (u32, u32),
    ino: u64,
    kind: u32,
    birth: (i64, u32),
}

/// What `statx(2)` says of a file.
#[derive(Clone, Copy)]
pub(crate) struct Attributes(pub(crate) Statx);

impl Attributes {
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        let wanted = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);
        Ok(Self(statx(file, c"", AtFlags::EMPTY_PATH, wanted)?))
    }

    pub(crate) fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode)
    }

    pub(crate) fn kind(&self) -> u32 {
        self.mode() & libc::S_IFMT
    }

    /// Whether it is gone with its name. Of a directory there is one.
    pub(crate) fn is_last_link(&self) -> bool {
        self.0.stx_nlink <= 1 || self.kind() == libc::S_IFDIR
    }

    pub(crate) fn size(&self) -> u64 {
        self.0.stx_size
    }

    /// Whether the file system knows when the file was made.
    pub(crate) fn has_birth(&self) -> bool {
        self.0.stx_mask & StatxFlags::BTIME.bits() != 0
    }

    pub(crate) fn identity(&self) -> Identity {
        let birth = if self.has_birth() { (self.0.stx_btime.tv_sec, self.0.stx_btime.tv_nsec) } else { (0, 0) };
        Identity { dev: (self.0.stx_dev_major, self.0.stx_dev_minor), ino: self.0.stx_ino, kind: self.kind(), birth }
    }
}

/// Takes only the name of an entry: not `.`, nor `..`, by which a guest would leave a directory that the host has moved
/// out of the share.
pub(crate) fn check_name(name: &CStr) -> io::Result<()> {
    match name.to_bytes() {
        b"" | b"." | b".." => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        name if name.contains(&b'/') => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        _ => Ok(()),
    }
}

/// The entry `name` of a directory, as a mere path.
pub(crate) fn step(directory: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    Ok(openat2(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), STEP)?)
}

/// Whether a directory lies in the tree of `root`, looked at from below: the host may have moved it out.
pub(crate) fn lies_in(root: impl AsFd, directory: impl AsFd) -> io::Result<bool> {
    let wanted = Attributes::of(root)?.identity();
    let mut at = Attributes::of(&directory)?.identity();
    let mut above: Option<OwnedFd> = None;
    for _ in 0..DEEPEST {
        let here = above.as_ref().map_or(directory.as_fd(), AsFd::as_fd);
        let parent = openat(here, c"..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let up = Attributes::of(&parent)?.identity();
        if up == wanted || up == at {
            return Ok(up == wanted); // only the root of all lies in itself
        }
        (at, above) = (up, Some(parent));
    }
    Ok(false)
}

/// `/proc/self/fd`, by which a mere path becomes an open file: that very file, whatever has its name by now.
#[derive(Debug)]
pub(crate) struct ProcSelfFd(OwnedFd);

impl ProcSelfFd {
    pub(crate) fn open() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(rustix::fs::CWD, c"/proc/self/fd", flags, Mode::empty())?))
    }

    /// The directory, in which a descriptor's number is the name of its file.
    pub(crate) fn directory(&self) -> impl AsFd {
        self.0.as_fd()
    }

    /// Opens the file of a mere path, which the caller knows to be a regular file or a directory: opening others may do
    /// anything.
    pub(crate) fn reopen(&self, path: RawFd, flags: OFlags) -> io::Result<OwnedFd> {
        let safely = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(&self.0, path.to_string(), flags | safely, Mode::empty())?)
    }
}
