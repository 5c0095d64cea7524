//! What a process and its threads have that an operation must leave as it is.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// The name of the server's thread that makes files.
const CREATOR: &str = "daxmap-creator";
/// How often threads are looked at before one that has ended is taken for one that stays.
const PATIENCE: usize = 3000;

/// A descriptor.
#[derive(Debug)]
pub(crate) struct Descriptor {
    /// Of which file it is.
    pub(crate) path: PathBuf,
    /// Whether it is a mere path (`O_PATH`).
    pub(crate) is_mere_path: bool,
}

/// All of this process.
pub(crate) fn descriptors() -> Vec<Descriptor> {
    let numbers = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let of = |number: OsString| {
        let path = fs::read_link(Path::new("/proc/self/fd").join(&number)).ok()?;
        let info = fs::read_to_string(Path::new("/proc/self/fdinfo").join(&number)).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
        let flags = i64::from_str_radix(&flags, 8).unwrap();
        Some(Descriptor { path, is_mere_path: flags & i64::from(libc::O_PATH) != 0 })
    };
    numbers.collect::<Vec<_>>().into_iter().filter_map(of).collect()
}

/// What of the server's thread that makes files, and of this one, must be as before: users, groups, umask, working
/// directory.
pub(crate) fn threads() -> BTreeSet<String> {
    let of = |thread: &Path| {
        let status = fs::read_to_string(thread.join("status")).ok()?;
        let kept = ["Name", "Uid", "Gid", "Groups", "Umask"];
        let lines = status.lines().filter(|line| line.split_once(':').is_some_and(|(what, _)| kept.contains(&what)));
        let directory = fs::read_link(thread.join("cwd")).ok()?;
        Some(lines.collect::<Vec<_>>().join(", ") + " in " + &directory.display().to_string())
    };
    let all = fs::read_dir("/proc/self/task").unwrap().filter_map(|entry| of(&entry.unwrap().path()));
    let own = of(Path::new("/proc/thread-self"));
    all.filter(|thread| thread.contains(CREATOR)).chain(own).collect()
}

/// Whether the threads come to be so: one that ends is there for a while.
pub(crate) fn threads_become(are_so: impl Fn(&BTreeSet<String>) -> bool) -> bool {
    (0..PATIENCE).any(|_| {
        thread::yield_now();
        are_so(&threads())
    })
}
