//! The directory that is shared.

use crate::client::USER;
use crate::guest::SET_TIMES;
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lsetxattr};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

/// Files that nobody needs: more than a server keeps open.
const OTHERS: usize = 9;

pub(crate) fn others() -> impl Iterator<Item = String> {
    (0..OTHERS).map(|number| format!("other{number}"))
}

/// Makes it anew: in memory, where there is a file system for that.
pub(crate) fn share() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let share = parent.join(format!("daxmap-calls-{}", std::process::id()));
    fill(&share);
    share
}

/// What the guest is to find.
fn fill(share: &Path) {
    let _ = fs::remove_dir_all(share);
    for directory in ["", "d", "empty"] {
        fs::create_dir(share.join(directory)).unwrap();
        fs::set_permissions(share.join(directory), fs::Permissions::from_mode(0o777)).unwrap();
    }
    for file in ["a", "b", "c", "d/x", "d/y"] {
        fs::write(share.join(file), file.repeat(100)).unwrap();
    }
    for other in others() {
        fs::write(share.join(other), "").unwrap();
    }
    symlink("a", share.join("link")).unwrap();
    let _ = lsetxattr(share.join("b"), c"user.x", b"value", XattrFlags::empty()); // before Linux 6.6, tmpfs has none
    if rustix::process::geteuid().is_root() {
        for file in ["a", "b", "c", "d/x", "empty"] {
            chown(share.join(file), Some(USER), Some(USER)).unwrap();
        }
    }
}

/// What there is on the disk, but for times that no guest has set.
pub(crate) fn look(path: &Path, found: &mut String) {
    let is = fs::symlink_metadata(path).unwrap();
    let content = match is.file_type() {
        kind if kind.is_file() => fs::read_to_string(path).unwrap(),
        kind if kind.is_symlink() => fs::read_link(path).unwrap().display().to_string(),
        _ => String::new(),
    };
    let name = path.display();
    write!(found, "{name}: {:o} {} {} {} {} {content}", is.mode(), is.nlink(), is.uid(), is.gid(), is.len()).unwrap();
    let mut names = [0; 256];
    let length = llistxattr(path, &mut names).unwrap_or(0);
    for name in names[..length].split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")) {
        let mut value = [0; 16];
        let length = lgetxattr(path, name, &mut value).unwrap();
        write!(found, " {}={:?}", name.escape_ascii(), &value[..length]).unwrap();
    }
    let times = [is.atime(), is.mtime()].map(|time| if SET_TIMES.contains(&time.cast_unsigned()) { time } else { 0 });
    writeln!(found, " {times:?}").unwrap();
    if is.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in &entries {
            look(entry, found);
        }
    }
}
