//! Making, removing and moving entries.

use super::creator::User;
use super::handles::Handle;
use super::nodes::PathFd;
use super::open::Access;
use super::paths::{Attributes, check_name, step};
use super::{Share, errno};
use fuse_backend_rs::abi::fuse_abi::CreateIn;
use fuse_backend_rs::api::filesystem::{Context, Entry, OpenOptions};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, linkat, mkdirat, mknodat, openat, renameat_with};
use rustix::fs::{symlinkat, unlinkat};
use std::ffi::CStr;
use std::io;
use std::sync::Arc;

impl Share {
    pub(super) fn look_up(&self, parent: u64, name: &CStr) -> io::Result<Entry> {
        check_name(name)?;
        let directory = self.nodes.directory(parent)?;
        self.entry(parent, name, &Arc::new(step(&*directory, name)?))
    }

    /// Has `make` make the entry `name` in a directory, as the guest's user; what the guest is told of it.
    fn make_entry(
        &self,
        context: &Context,
        parent: u64,
        name: &CStr,
        make: impl FnOnce(&PathFd, &CStr) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Entry> {
        self.check_writable()?;
        check_name(name)?;
        let directory = self.nodes.directory(parent)?;
        let (within, called) = (Arc::clone(&directory), name.to_owned());
        self.creator.make(user(context), move || make(&within, &called))?;
        self.entry(parent, name, &Arc::new(step(&*directory, name)?))
    }

    pub(super) fn make_directory(&self, context: &Context, parent: u64, name: &CStr, mode: u32) -> io::Result<Entry> {
        let mode = Mode::from_raw_mode(self.allowed_mode(mode, libc::S_IFDIR));
        self.make_entry(context, parent, name, move |within, name| Ok(mkdirat(within, name, mode)?))
    }

    /// A regular file, a FIFO or a socket. Devices are refused: on the host they would be the host's.
    pub(super) fn make_node(&self, context: &Context, parent: u64, name: &CStr, mode: u32) -> io::Result<Entry> {
        let kind = mode & libc::S_IFMT;
        if !matches!(kind, 0 | libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK) {
            self.check_writable()?;
            return Err(errno(libc::EPERM));
        }
        let (kind, mode) = (FileType::from_raw_mode(kind), Mode::from_raw_mode(self.allowed_mode(mode, kind)));
        self.make_entry(context, parent, name, move |within, name| {
            let kind = if kind == FileType::Unknown { FileType::RegularFile } else { kind };
            Ok(mknodat(within, name, kind, mode, 0)?)
        })
    }

    pub(super) fn make_symlink(&self, context: &Context, target: &CStr, parent: u64, name: &CStr) -> io::Result<Entry> {
        let target = target.to_owned();
        self.make_entry(context, parent, name, move |within, name| Ok(symlinkat(&*target, within, name)?))
    }

    pub(super) fn make_link(&self, nodeid: u64, parent: u64, name: &CStr) -> io::Result<Entry> {
        self.check_writable()?;
        check_name(name)?;
        let file = self.nodes.descriptor(nodeid)?;
        let directory = self.nodes.directory(parent)?;
        // By way of /proc: of a descriptor itself only root may make a link.
        linkat(self.proc.directory(), file.as_raw_fd().to_string(), &*directory, name, AtFlags::SYMLINK_FOLLOW)?;
        self.changed(nodeid, &file);
        self.entry(parent, name, &Arc::new(step(&*directory, name)?))
    }

    pub(super) fn make_file(
        &self,
        context: &Context,
        parent: u64,
        name: &CStr,
        wanted: &CreateIn,
    ) -> io::Result<(Entry, u64, OpenOptions)> {
        let access = Access::of(wanted.flags)?;
        self.check_writable()?;
        check_name(name)?;
        self.handles.check_room()?;
        let directory = self.nodes.directory(parent)?;
        let mode = Mode::from_raw_mode(self.allowed_mode(wanted.mode & !wanted.umask, libc::S_IFREG));
        let (within, called) = (Arc::clone(&directory), name.to_owned());
        let flags = access.flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = self.creator.make(user(context), move || Ok(openat(&*within, &*called, flags, mode)?));
        let exclusive = wanted.flags & libc::O_EXCL.cast_unsigned() != 0;
        let (entry, file) = match created {
            // Not what has the name by now.
            Ok(file) => {
                let path = self.proc.reopen(file.as_raw_fd(), OFlags::PATH)?;
                (self.entry(parent, name, &Arc::new(path))?, file)
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) && !exclusive => {
                let entry = self.look_up(parent, name)?;
                (
                    entry,
                    self.open_as(context, entry.inode, access)
                        .inspect_err(|_| _ = self.nodes.forget(entry.inode, 1))?,
                )
            }
            Err(error) => return Err(error),
        };
        let fh = self.handles.put(Handle::new(entry.inode, file, access.writable));
        let fh = fh.inspect_err(|_| _ = self.nodes.forget(entry.inode, 1))?;
        Ok((entry, fh, self.how_opened()))
    }

    /// Opens a file that was there before, as the guest's user: the guest's kernel has not checked whether it may.
    fn open_as(&self, context: &Context, nodeid: u64, access: Access) -> io::Result<OwnedFd> {
        let path = self.nodes.regular(nodeid)?;
        let name = format!("/proc/self/fd/{}", path.as_raw_fd());
        let flags = access.flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = self.creator.make(user(context), move || Ok(rustix::fs::open(name, flags, Mode::empty())?))?;
        if access.writes {
            self.drop_privileges(&file)?;
            self.changed(nodeid, &path);
        }
        Ok(file)
    }

    pub(super) fn remove_entry(&self, parent: u64, name: &CStr, flags: AtFlags) -> io::Result<()> {
        self.check_writable()?;
        check_name(name)?;
        let directory = self.nodes.directory(parent)?;
        self.losing(&directory, parent, name, || Ok(unlinkat(&*directory, name, flags)?))
    }

    pub(super) fn rename_entry(
        &self,
        (from, old): (u64, &CStr),
        (to, new): (u64, &CStr),
        flags: u32,
    ) -> io::Result<()> {
        self.check_writable()?;
        check_name(old)?;
        check_name(new)?;
        let flags = match flags {
            0 => RenameFlags::empty(),
            libc::RENAME_NOREPLACE => RenameFlags::NOREPLACE,
            libc::RENAME_EXCHANGE => RenameFlags::EXCHANGE,
            _ => return Err(errno(libc::EINVAL)), // a whiteout is a device
        };
        let (source, target) = (self.nodes.directory(from)?, self.nodes.directory(to)?);
        let moving = self.known_at(&source, old)?;
        let other = if flags == RenameFlags::EXCHANGE { self.known_at(&target, new)? } else { None };
        let rename = || Ok(renameat_with(&*source, old, &*target, new, flags)?);
        if flags.is_empty() { self.losing(&target, to, new, rename) } else { rename() }?;
        self.moved(moving, to, new);
        self.moved(other, from, old);
        Ok(())
    }

    /// Does what takes its place from a file, which is kept, since the guest may have it open.
    fn losing(
        &self,
        directory: &PathFd,
        parent: u64,
        name: &CStr,
        work: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let leaving =
            there(directory, name)?.and_then(|(attributes, file)| self.nodes.keep(parent, name, file, &attributes));
        let done = work();
        if let Some(leaving) = leaving
            && self.nodes.settle(&leaving, done.is_ok())
        {
            self.forget_mapped_of(leaving.nodeid);
        }
        done
    }

    /// The inode of an entry, if the guest knows it, and its descriptor.
    fn known_at(&self, directory: &PathFd, name: &CStr) -> io::Result<Option<(u64, PathFd)>> {
        let there = there(directory, name)?;
        Ok(there.and_then(|(attributes, file)| Some((self.nodes.known(&attributes)?, Arc::new(file)))))
    }

    /// Notes that an inode that the guest knows is at another place now.
    fn moved(&self, known: Option<(u64, PathFd)>, parent: u64, name: &CStr) {
        if let Some((nodeid, file)) = known {
            self.nodes.moved(nodeid, parent, name);
            self.changed(nodeid, &file);
        }
    }
}

/// What has a name that is about to change. Where that can't be found out, nothing may change: the guest could no longer
/// map a file that it has open, and that the server has lost sight of.
fn there(directory: &PathFd, name: &CStr) -> io::Result<Option<(Attributes, OwnedFd)>> {
    match step(&**directory, name) {
        Ok(file) => Ok(Some((Attributes::of(&file)?, file))),
        // Nothing, or what is mounted there: the change itself is refused.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EXDEV)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn user(context: &Context) -> User {
    User { uid: context.uid, gid: context.gid }
}
