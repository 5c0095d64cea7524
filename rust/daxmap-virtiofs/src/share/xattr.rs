//! Extended attributes: those of a guest's users, and where files are its users' own, those of its security modules.

use super::{Share, errno};
use crate::options::Owner;
use fuse_backend_rs::api::filesystem::{GetxattrReply, ListxattrReply};
use rustix::fd::AsRawFd;
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use std::ffi::CStr;
use std::io;

/// The longest value, and the longest list of names, in bytes: `XATTR_SIZE_MAX` and `XATTR_LIST_MAX` of the kernel.
const LONGEST: usize = 64 << 10;

impl Share {
    /// Whether a guest may see and change an attribute. POSIX ACLs are not offered, and trusted attributes are the host's.
    fn may_have(&self, name: &[u8]) -> bool {
        name.starts_with(b"user.") || self.options.owner == Owner::Guest && name.starts_with(b"security.")
    }

    fn check_xattr(&self, name: &CStr) -> io::Result<()> {
        if self.may_have(name.to_bytes()) { Ok(()) } else { Err(errno(libc::EOPNOTSUPP)) }
    }

    /// Attributes can't be reached by a descriptor that is a mere path.
    fn with_path<T>(&self, nodeid: u64, call: impl FnOnce(&str) -> io::Result<T>) -> io::Result<T> {
        let file = self.nodes.descriptor(nodeid)?;
        call(&format!("/proc/self/fd/{}", file.as_raw_fd()))
    }

    fn change_xattr(&self, nodeid: u64, name: &CStr, call: impl FnOnce(&str) -> io::Result<()>) -> io::Result<()> {
        self.check_writable()?;
        self.check_xattr(name)?;
        self.with_path(nodeid, call)?;
        self.changed(nodeid, &self.nodes.descriptor(nodeid)?);
        Ok(())
    }

    pub(super) fn set_xattr(&self, nodeid: u64, name: &CStr, value: &[u8], flags: u32) -> io::Result<()> {
        let flags = XattrFlags::from_bits(flags).ok_or_else(|| errno(libc::EINVAL))?;
        self.change_xattr(nodeid, name, |path| Ok(setxattr(path, name, value, flags)?))
    }

    pub(super) fn get_xattr(&self, nodeid: u64, name: &CStr, size: u32) -> io::Result<GetxattrReply> {
        self.check_xattr(name)?;
        let value = self.with_path(nodeid, |path| {
            let mut value = vec![0; LONGEST];
            let length = getxattr(path, name, &mut value[..])?;
            value.truncate(length);
            Ok(value)
        })?;
        match fit(value, size)? {
            Ok(value) => Ok(GetxattrReply::Value(value)),
            Err(length) => Ok(GetxattrReply::Count(length)),
        }
    }

    pub(super) fn list_xattr(&self, nodeid: u64, size: u32) -> io::Result<ListxattrReply> {
        let all = self.with_path(nodeid, |path| {
            let mut names = vec![0; LONGEST];
            let length = listxattr(path, &mut names[..])?;
            names.truncate(length);
            Ok(names)
        })?;
        let names =
            all.split_inclusive(|byte| *byte == 0).filter(|name| self.may_have(name)).flatten().copied().collect();
        match fit(names, size)? {
            Ok(names) => Ok(ListxattrReply::Names(names)),
            Err(length) => Ok(ListxattrReply::Count(length)),
        }
    }

    pub(super) fn remove_xattr(&self, nodeid: u64, name: &CStr) -> io::Result<()> {
        self.change_xattr(nodeid, name, |path| Ok(removexattr(path, name)?))
    }
}

/// What fits into `size` bytes, or ERANGE; for 0, its length.
fn fit(found: Vec<u8>, size: u32) -> io::Result<Result<Vec<u8>, u32>> {
    let length = u32::try_from(found.len()).map_err(|_| errno(libc::E2BIG))?;
    match size {
        0 => Ok(Err(length)),
        size if length > size => Err(errno(libc::ERANGE)),
        _ => Ok(Ok(found)),
    }
}
