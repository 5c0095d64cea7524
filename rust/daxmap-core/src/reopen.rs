//! Opening an inode that is held by an `O_PATH` descriptor.

use crate::open_error::OpenError;
use crate::sys::{Errno, keep_proc_self, open_descriptor, regular_file};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Opens the regular file that `path_fd`, `O_PATH` or other, stands for, whatever its path leads to by now.
///
/// It goes through `/proc/self/fd` (proc(5)), which leads to the inode itself; `/proc/self` is kept open from the first use
/// in a process on. Nothing but a regular file is opened, so that it never waits for another program. Close-on-exec.
///
/// # Errors
/// [`OpenError::Refused`] with EBADF (`path_fd` is not open), ENODEV (not a regular file), ESTALE (`path_fd` became another
/// file's meanwhile), EINTR (a signal came while the file system worked: try again), and what `open(2)` says: of the file,
/// or of `/proc/self/fd`, which the text then names.
pub fn reopen(path_fd: RawFd, writable: bool) -> Result<OwnedFd, OpenError> {
    let refused = |errno| OpenError::refused(format!("fd {path_fd}"), errno);
    let because = |errno, why: &str| OpenError::Refused {
        what: format!("fd {path_fd}"),
        errno: Errno(errno),
        remedy: Some(why.to_owned()),
    };
    let wanted = regular_file(path_fd).map_err(refused)?;
    if wanted.is_none() {
        return Err(because(libc::ENODEV, "not a regular file"));
    }
    keep_proc_self().map_err(|errno| OpenError::Refused {
        what: "/proc/self/fd".to_owned(),
        errno,
        remedy: Some("is /proc not mounted here?".to_owned()),
    })?;
    let access = if writable { libc::O_RDWR } else { libc::O_RDONLY };
    // Not blocked by what may have become a FIFO or a terminal since it was looked at.
    let file = open_descriptor(path_fd, access | libc::O_NONBLOCK | libc::O_NOCTTY).map_err(refused)?;
    let found = regular_file(file.as_raw_fd()).map_err(refused)?;
    if found == wanted { Ok(file) } else { Err(because(libc::ESTALE, "it became another file's")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    fn held(path: &Path) -> File {
        File::options().read(true).custom_flags(libc::O_PATH).open(path).unwrap()
    }

    #[test]
    fn a_held_file_is_opened_whatever_its_name_is_by_now() {
        let path = std::env::temp_dir().join(format!("daxmap-reopen-{}", std::process::id()));
        std::fs::write(&path, b"old").unwrap();
        let held = held(&path);
        std::fs::remove_file(path).unwrap();
        let [read_only, mut both] =
            [false, true].map(|writable| File::from(reopen(held.as_raw_fd(), writable).unwrap()));
        assert!((&read_only).write(b"no").is_err());
        both.write_all(b"new").unwrap();
        let mut text = String::new();
        (&read_only).read_to_string(&mut text).unwrap();
        assert_eq!(text, "new");
    }

    #[test]
    fn an_open_that_could_wait_does_not() {
        let file = reopen(held(&std::env::current_exe().unwrap()).as_raw_fd(), false).unwrap();
        // `proc_pid_fdinfo(5)`: the flags of open(2), in octal.
        let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap();
        let flags = told.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        assert_eq!(flags & (libc::O_NONBLOCK | libc::O_CLOEXEC), libc::O_NONBLOCK | libc::O_CLOEXEC);
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        for path in ["/", "/dev/null"] {
            let refused = reopen(held(Path::new(path)).as_raw_fd(), false).unwrap_err();
            assert!(matches!(&refused, OpenError::Refused { errno: Errno(libc::ENODEV), .. }), "{refused}");
            assert!(refused.to_string().ends_with(": not a regular file"), "{refused}");
        }
        assert!(matches!(reopen(-1, false), Err(OpenError::Refused { errno: Errno(libc::EBADF), .. })));
    }
}
