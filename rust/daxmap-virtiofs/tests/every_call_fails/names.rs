//! System calls by name.

use std::collections::BTreeMap;
use std::ffi::c_long;

/// How often each call came, by name.
pub(crate) fn named(calls: &[c_long]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        *counts.entry(name(*call)).or_default() += 1;
    }
    let text = counts.iter().map(|(name, times)| if *times == 1 { name.clone() } else { format!("{times} {name}") });
    text.collect::<Vec<_>>().join(", ")
}

fn name(call: c_long) -> String {
    let names = [
        (libc::SYS_open, "open"),
        (libc::SYS_newfstatat, "newfstatat"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_openat2, "openat2"),
        (libc::SYS_statx, "statx"),
        (libc::SYS_close, "close"),
        (libc::SYS_fstat, "fstat"),
        (libc::SYS_fstatfs, "fstatfs"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_fcntl, "fcntl"),
        (libc::SYS_lseek, "lseek"),
        (libc::SYS_getdents64, "getdents64"),
        (libc::SYS_setresuid, "setresuid"),
        (libc::SYS_setresgid, "setresgid"),
        (libc::SYS_mkdirat, "mkdirat"),
        (libc::SYS_mknodat, "mknodat"),
        (libc::SYS_symlinkat, "symlinkat"),
        (libc::SYS_linkat, "linkat"),
        (libc::SYS_unlinkat, "unlinkat"),
        (libc::SYS_renameat2, "renameat2"),
        (libc::SYS_fchmodat, "fchmodat"),
        (libc::SYS_fchownat, "fchownat"),
        (libc::SYS_fchmod, "fchmod"),
        (libc::SYS_ftruncate, "ftruncate"),
        (libc::SYS_utimensat, "utimensat"),
        (libc::SYS_readlinkat, "readlinkat"),
        (libc::SYS_preadv, "preadv"),
        (libc::SYS_pwritev2, "pwritev2"),
        (libc::SYS_fsync, "fsync"),
        (libc::SYS_fdatasync, "fdatasync"),
        (libc::SYS_fallocate, "fallocate"),
        (libc::SYS_setxattr, "setxattr"),
        (libc::SYS_getxattr, "getxattr"),
        (libc::SYS_listxattr, "listxattr"),
        (libc::SYS_removexattr, "removexattr"),
        (libc::SYS_unshare, "unshare"),
        (libc::SYS_setgroups, "setgroups"),
        (libc::SYS_clone3, "clone3"),
    ];
    names.iter().find(|(number, _)| *number == call).map_or_else(|| call.to_string(), |(_, name)| (*name).to_owned())
}
