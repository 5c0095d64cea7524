//! What a guest is told of files, and what it changes of that.

use super::handles::Handle;
use super::nodes::PathFd;
use super::paths::Attributes;
use super::{Share, errno, timeout};
use crate::options::Owner;
use fuse_backend_rs::abi::fuse_abi::{Attr, SetattrValid, stat64};
use fuse_backend_rs::api::filesystem::Entry;
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, chmodat, chownat};
use rustix::fs::{ftruncate, readlinkat, utimensat};
use std::ffi::CStr;
use std::io;
use std::time::Duration;

/// Set-user-id and set-group-id.
pub(super) const PRIVILEGES: u32 = libc::S_ISUID | libc::S_ISGID;

impl Share {
    /// What the guest is told of an entry that it looked up, or made.
    pub(super) fn entry(&self, parent: u64, name: &CStr, file: &PathFd) -> io::Result<Entry> {
        let attributes = Attributes::of(file)?;
        let inode = self.nodes.tell(parent, name, file, &attributes);
        Ok(Entry {
            inode,
            generation: 0,
            attr: attributes.into(),
            attr_flags: self.attr_flags(&attributes),
            attr_timeout: timeout(self.options.cache),
            entry_timeout: timeout(self.options.cache),
        })
    }

    pub(super) fn attributes(&self, nodeid: u64, fh: Option<u64>) -> io::Result<(stat64, Duration)> {
        let attributes = match fh {
            Some(fh) => Attributes::of(&self.handles.get(nodeid, fh)?.file)?, // a removed file has one too
            None => Attributes::of(self.nodes.descriptor(nodeid)?)?,
        };
        Ok((attributes.into(), timeout(self.options.cache)))
    }

    pub(super) fn set_attributes(
        &self,
        nodeid: u64,
        wanted: &stat64,
        fh: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(stat64, Duration)> {
        self.check_writable()?;
        let (path, kind) = self.nodes.found(nodeid)?;
        let handle = fh.map(|fh| self.handles.get(nodeid, fh)).transpose()?;
        if valid.contains(SetattrValid::MODE) {
            let mode = Mode::from_raw_mode(self.allowed_mode(wanted.st_mode & 0o7777, kind));
            chmodat(self.proc.directory(), path.as_raw_fd().to_string(), mode, AtFlags::empty())?;
        }
        if valid.intersects(SetattrValid::UID | SetattrValid::GID) {
            let uid = valid.contains(SetattrValid::UID).then_some(wanted.st_uid);
            let gid = valid.contains(SetattrValid::GID).then_some(wanted.st_gid);
            self.set_owner(&path, uid, gid)?;
        }
        if valid.contains(SetattrValid::SIZE) {
            let size = u64::try_from(wanted.st_size).map_err(|_| errno(libc::EINVAL))?;
            self.set_size(nodeid, &path, kind, handle.as_deref(), size)?;
        }
        if valid.intersects(SetattrValid::ATIME | SetattrValid::MTIME) {
            let times = Timestamps {
                last_access: time(
                    valid.contains(SetattrValid::ATIME),
                    valid.contains(SetattrValid::ATIME_NOW),
                    wanted.st_atime,
                    wanted.st_atime_nsec,
                ),
                last_modification: time(
                    valid.contains(SetattrValid::MTIME),
                    valid.contains(SetattrValid::MTIME_NOW),
                    wanted.st_mtime,
                    wanted.st_mtime_nsec,
                ),
            };
            utimensat(self.proc.directory(), path.as_raw_fd().to_string(), &times, AtFlags::empty())?;
        }
        self.changed(nodeid, &path);
        self.attributes(nodeid, fh)
    }

    /// The mode that a file may have: where all files are the server's own, a guest must not make programs that run as it.
    pub(super) fn allowed_mode(&self, mode: u32, kind: u32) -> u32 {
        if self.options.owner == Owner::Host && kind != libc::S_IFDIR { mode & !PRIVILEGES } else { mode }
    }

    /// Gives a file another owner; where all files are the server's own, EPERM unless that changes nothing.
    fn set_owner(&self, path: &PathFd, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(errno(libc::EINVAL)); // -1 would stand for "unchanged"
        }
        if self.options.owner == Owner::Host {
            let now = Attributes::of(path)?.0;
            let same = uid.is_none_or(|uid| uid == now.stx_uid) && gid.is_none_or(|gid| gid == now.stx_gid);
            return if same { Ok(()) } else { Err(errno(libc::EPERM)) };
        }
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        Ok(chownat(path, c"", uid.map(Uid::from_raw), gid.map(Gid::from_raw), flags)?)
    }

    fn set_size(&self, nodeid: u64, path: &PathFd, kind: u32, handle: Option<&Handle>, size: u64) -> io::Result<()> {
        match handle.filter(|handle| handle.writable) {
            Some(handle) => ftruncate(&handle.file, size)?,
            None if kind == libc::S_IFREG => {
                let file = self.open_for_writing(nodeid, path, OFlags::WRONLY)?;
                ftruncate(file, size)?;
            }
            None => return Err(errno(libc::EINVAL)),
        }
        Ok(())
    }

    pub(super) fn link_target(&self, nodeid: u64) -> io::Result<Vec<u8>> {
        match self.nodes.found(nodeid)? {
            (link, libc::S_IFLNK) => Ok(readlinkat(link.as_fd(), c"", Vec::new())?.into_bytes()),
            _ => Err(errno(libc::EINVAL)),
        }
    }
}

fn time(given: bool, now: bool, seconds: i64, nanoseconds: i64) -> Timespec {
    match (now, given) {
        (true, _) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        (_, true) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        _ => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    }
}

impl From<Attributes> for stat64 {
    #[allow(clippy::cast_sign_loss)] // FUSE has the bits of a time before 1970
    fn from(attributes: Attributes) -> Self {
        let found = attributes.0;
        Attr {
            ino: found.stx_ino,
            size: found.stx_size,
            blocks: found.stx_blocks,
            atime: found.stx_atime.tv_sec as u64,
            mtime: found.stx_mtime.tv_sec as u64,
            ctime: found.stx_ctime.tv_sec as u64,
            atimensec: found.stx_atime.tv_nsec,
            mtimensec: found.stx_mtime.tv_nsec,
            ctimensec: found.stx_ctime.tv_nsec,
            mode: attributes.mode(),
            nlink: found.stx_nlink,
            uid: found.stx_uid,
            gid: found.stx_gid,
            // 32 bits, as Linux has it on the wire (`new_encode_dev`).
            rdev: found.stx_rdev_minor & 0xff | found.stx_rdev_major << 8 | (found.stx_rdev_minor & !0xff) << 12,
            blksize: found.stx_blksize,
            flags: 0,
        }
        .into()
    }
}
