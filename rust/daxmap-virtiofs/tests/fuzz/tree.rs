//! The host's directories: the share, and what lies beside it, which no guest may reach.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A directory with a `share` in it, and an `outside`.
pub(crate) struct Tree {
    base: PathBuf,
}

impl Tree {
    /// In memory, where there is a file system for that: a file is synced there in no time. `FUZZ_DIRECTORY` in the
    /// environment names another place.
    pub(crate) fn new(name: &str) -> Self {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let parent = std::env::var_os("FUZZ_DIRECTORY").map_or(parent, PathBuf::from);
        let base = parent.join(format!("daxmap-fuzz-{}-{name}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let tree = Self { base };
        fs::create_dir_all(tree.outside().join("deep/er")).unwrap();
        for secret in ["secret", "deep/secret", "deep/er/secret"] {
            fs::write(tree.outside().join(secret), b"of the host").unwrap();
        }
        fs::create_dir(tree.share()).unwrap();
        tree.fill();
        tree
    }

    pub(crate) fn share(&self) -> PathBuf {
        self.base.join("share")
    }

    fn outside(&self) -> PathBuf {
        self.base.join("outside")
    }

    /// What a share may hold: links that lead out of it, and files that block a thread that opens them, too.
    pub(crate) fn fill(&self) {
        let share = self.share();
        for directory in ["d", "d/d", "e"] {
            let _ = fs::create_dir(share.join(directory));
        }
        for file in ["a", "b", "d/a", "d/d/a", "e/a"] {
            let _ = fs::write(share.join(file), [b'x'; 5000]);
        }
        let _ = symlink(self.outside(), share.join("out"));
        let _ = symlink("../outside/secret", share.join("up"));
        let _ = symlink("/proc/self/root", share.join("d/root"));
        let _ = symlink("a", share.join("here"));
        let _ = UnixListener::bind(share.join("socket"));
        let _ = rustix::fs::mknodat(
            rustix::fs::CWD,
            share.join("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        );
    }

    /// What the host does meanwhile: it removes all that is there, and makes it again.
    pub(crate) fn refill(&self) {
        empty(&self.share());
        self.fill();
    }

    /// All that is outside the share: content, owners, modes, links and times, of which the last change tells any other.
    pub(crate) fn audit(&self) -> String {
        let mut found = String::new();
        let entries = fs::read_dir(&self.base).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut entries: Vec<_> = entries.collect();
        entries.sort();
        assert_eq!(entries, ["outside", "share"]);
        look(&self.outside(), &mut found);
        found
    }

    /// The same of the share itself.
    pub(crate) fn audit_share(&self) -> String {
        let mut found = String::new();
        look(&self.share(), &mut found);
        found
    }
}

/// Removes all that is in a directory, though a guest may have taken the right to.
fn empty(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            empty(&entry.path());
            fs::remove_dir(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

fn look(path: &Path, found: &mut String) {
    let is = fs::symlink_metadata(path).unwrap();
    let content = if is.is_file() { fs::read(path).unwrap().len() } else { 0 };
    writeln!(
        found,
        "{} {:o} {} {} {} {} {} {} {}.{} {}.{} {}",
        path.display(),
        is.mode(),
        is.ino(),
        is.nlink(),
        is.uid(),
        is.gid(),
        is.size(),
        content,
        is.mtime(),
        is.mtime_nsec(),
        is.ctime(),
        is.ctime_nsec(),
        is.blocks(),
    )
    .unwrap();
    if is.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in &entries {
            look(entry, found);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.share().is_dir() {
            empty(&self.share());
        }
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
