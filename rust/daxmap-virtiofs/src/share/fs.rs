//! The share as `fuse-backend-rs` wants a file system: each request has its method.

use super::Share;
use super::paths::check_name;
use fuse_backend_rs::abi::fuse_abi::{CreateIn, FsOptions, SetattrValid, stat64, statvfs64};
use fuse_backend_rs::api::filesystem::{
    Context, DirEntry, Entry, FileSystem, GetxattrReply, ListxattrReply, OpenOptions,
};
use rustix::fd::AsFd;
use rustix::fs::AtFlags;
use std::ffi::CStr;
use std::io;
use std::time::Duration;

/// What is offered to a guest, beside DAX. Not: locks, which so stay the guest's own affair; a write-back cache, since the
/// host may write to the files; nor to remove set-user-id bits, which then the guest does.
const OFFERED: FsOptions = FsOptions::ASYNC_READ
    .union(FsOptions::BIG_WRITES)
    .union(FsOptions::AUTO_INVAL_DATA)
    .union(FsOptions::DO_READDIRPLUS)
    .union(FsOptions::READDIRPLUS_AUTO)
    .union(FsOptions::ASYNC_DIO)
    .union(FsOptions::PARALLEL_DIROPS)
    .union(FsOptions::MAX_PAGES);

impl FileSystem for Share {
    type Inode = u64;
    type Handle = u64;

    fn init(&self, _capable: FsOptions) -> io::Result<FsOptions> {
        Ok(OFFERED)
    }

    fn lookup(&self, _context: &Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        self.look_up(parent, name)
    }

    fn forget(&self, _context: &Context, inode: u64, count: u64) {
        if self.nodes.forget(inode, count) {
            self.forget_mapped_of(inode);
        }
    }

    fn batch_forget(&self, context: &Context, requests: Vec<(u64, u64)>) {
        for (inode, count) in requests {
            self.forget(context, inode, count);
        }
    }

    fn getattr(&self, _context: &Context, inode: u64, handle: Option<u64>) -> io::Result<(stat64, Duration)> {
        self.attributes(inode, handle)
    }

    fn setattr(
        &self,
        _context: &Context,
        inode: u64,
        attr: stat64,
        handle: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(stat64, Duration)> {
        self.set_attributes(inode, &attr, handle, valid)
    }

    fn readlink(&self, _context: &Context, inode: u64) -> io::Result<Vec<u8>> {
        self.link_target(inode)
    }

    fn symlink(&self, context: &Context, linkname: &CStr, parent: u64, name: &CStr) -> io::Result<Entry> {
        self.make_symlink(context, linkname, parent, name)
    }

    fn mknod(
        &self,
        context: &Context,
        inode: u64,
        name: &CStr,
        mode: u32,
        _rdev: u32,
        umask: u32,
    ) -> io::Result<Entry> {
        self.make_node(context, inode, name, mode & !(umask & 0o777))
    }

    fn mkdir(&self, context: &Context, parent: u64, name: &CStr, mode: u32, umask: u32) -> io::Result<Entry> {
        self.make_directory(context, parent, name, mode & !(umask & 0o777))
    }

    fn unlink(&self, _context: &Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.remove_entry(parent, name, AtFlags::empty())
    }

    fn rmdir(&self, _context: &Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.remove_entry(parent, name, AtFlags::REMOVEDIR)
    }

    fn rename(
        &self,
        _context: &Context,
        olddir: u64,
        oldname: &CStr,
        newdir: u64,
        newname: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        self.rename_entry((olddir, oldname), (newdir, newname), flags)
    }

    fn link(&self, _context: &Context, inode: u64, newparent: u64, newname: &CStr) -> io::Result<Entry> {
        self.make_link(inode, newparent, newname)
    }

    fn open(
        &self,
        _context: &Context,
        inode: u64,
        flags: u32,
        _fuse_flags: u32,
    ) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        self.open_file(inode, flags).map(|(fh, how)| (Some(fh), how, None))
    }

    fn create(
        &self,
        context: &Context,
        parent: u64,
        name: &CStr,
        args: CreateIn,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions, Option<u32>)> {
        self.make_file(context, parent, name, &args).map(|(entry, fh, how)| (entry, Some(fh), how, None))
    }

    fn flush(&self, _context: &Context, inode: u64, handle: u64, _lock_owner: u64) -> io::Result<()> {
        self.flush_file(inode, handle)
    }

    fn fsync(&self, _context: &Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()> {
        self.sync(inode, handle, datasync)
    }

    fn fallocate(
        &self,
        _context: &Context,
        inode: u64,
        handle: u64,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        self.allocate(inode, handle, mode, offset, length)
    }

    fn lseek(&self, _context: &Context, inode: u64, handle: u64, offset: u64, whence: u32) -> io::Result<u64> {
        self.seek(inode, handle, offset, whence)
    }

    fn release(
        &self,
        _context: &Context,
        inode: u64,
        _flags: u32,
        handle: u64,
        _flush: bool,
        _flock_release: bool,
        _lock_owner: Option<u64>,
    ) -> io::Result<()> {
        self.handles.close(inode, handle)
    }

    fn statfs(&self, _context: &Context, inode: u64) -> io::Result<statvfs64> {
        crate::sys::statvfs(self.nodes.descriptor(inode)?.as_fd())
    }

    fn setxattr(&self, _context: &Context, inode: u64, name: &CStr, value: &[u8], flags: u32) -> io::Result<()> {
        self.set_xattr(inode, name, value, flags)
    }

    fn getxattr(&self, _context: &Context, inode: u64, name: &CStr, size: u32) -> io::Result<GetxattrReply> {
        self.get_xattr(inode, name, size)
    }

    fn listxattr(&self, _context: &Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        self.list_xattr(inode, size)
    }

    fn removexattr(&self, _context: &Context, inode: u64, name: &CStr) -> io::Result<()> {
        self.remove_xattr(inode, name)
    }

    fn opendir(&self, _context: &Context, inode: u64, _flags: u32) -> io::Result<(Option<u64>, OpenOptions)> {
        self.open_directory(inode).map(|(fh, how)| (Some(fh), how))
    }

    fn readdir(
        &self,
        _context: &Context,
        inode: u64,
        handle: u64,
        _size: u32,
        offset: u64,
        add_entry: &mut dyn FnMut(DirEntry) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.entries(inode, handle, offset, |found, _entry| add_entry(found))
    }

    fn readdirplus(
        &self,
        context: &Context,
        inode: u64,
        handle: u64,
        _size: u32,
        offset: u64,
        add_entry: &mut dyn FnMut(DirEntry, Entry) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.entries(inode, handle, offset, |found, entry| {
            let told = self.entry_of(inode, entry);
            let added = add_entry(found, told);
            if !matches!(added, Ok(1..)) && check_name(entry.file_name()).is_ok() {
                self.forget(context, told.inode, 1); // there was no room to tell
            }
            added
        })
    }

    fn fsyncdir(&self, _context: &Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()> {
        self.sync(inode, handle, datasync)
    }

    fn releasedir(&self, _context: &Context, inode: u64, _flags: u32, handle: u64) -> io::Result<()> {
        self.handles.close(inode, handle)
    }
}
