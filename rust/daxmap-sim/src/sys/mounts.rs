//! Mounts that only this process sees, and that are gone with it.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr::null;

/// Gives this process a user namespace, in which it is root, and a mount namespace: `user_namespaces(7)`. It must have one
/// thread.
pub(crate) fn own_namespace() -> io::Result<()> {
    let own = fs::metadata("/proc/self")?;
    // SAFETY: no memory is involved.
    answer(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", own.uid()))?;
    fs::write("/proc/self/setgroups", "deny")?; // else no group may be mapped
    fs::write("/proc/self/gid_map", format!("0 {} 1", own.gid()))?;
    // SAFETY: the path is a C string; the others are not used to change how a mount is shared.
    answer(unsafe { libc::mount(null(), c"/".as_ptr(), null(), libc::MS_REC | libc::MS_PRIVATE, null()) })
}

/// Mounts a file system that has no source.
pub(crate) fn mount(kind: &CStr, at: &Path, options: &str) -> io::Result<()> {
    let (at, options) = (c_string(at.as_os_str().as_bytes())?, c_string(options.as_bytes())?);
    // SAFETY: all are C strings, and live until the call returns.
    answer(unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) })
}

/// Takes a mount away; it is gone when the last file of it is closed.
pub(crate) fn unmount(at: &Path) {
    if let Ok(at) = c_string(at.as_os_str().as_bytes()) {
        // SAFETY: it is a C string.
        unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) };
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(io::Error::from)
}

fn answer(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
