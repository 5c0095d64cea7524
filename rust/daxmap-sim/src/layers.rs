//! A directory with files of two devices that have the same inode numbers: overlayfs over two tmpfs, as a container has it.
//! A file of the lower one keeps its `st_dev` and `st_ino` when it is copied up (Documentation/filesystems/overlayfs.rst,
//! "Inode properties"). Two file systems, one mounted in the other, would not do: the file server serves no mount.

use crate::sys::mounts;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where directories of a share are made. What is mounted over it is this process's alone.
pub(crate) const MEMORY: &str = "/dev/shm";
/// Files of the lower one, with the inode numbers that the first of the upper one have too.
const SPARES: usize = 100;
/// How many twins there are to begin with. Each file that is made while they are takes some three numbers.
const PAIRS: usize = 5;

/// The directory of those.
const SPARE: &str = "spare";

/// The lower file system, which is never changed. None, if this process can't mount.
static LOWER: OnceLock<PathBuf> = OnceLock::new();

/// Gives this process, which must not have a second thread yet, the right to mount, so that there can be a second device.
///
/// # Errors
/// What the host refuses: all is played on one device then.
pub fn prepare_second_device() -> Result<(), String> {
    let prepared = mounts::own_namespace().and_then(|()| {
        mounts::mount(c"tmpfs", Path::new(MEMORY), "")?;
        let lower = Path::new(MEMORY).join("lower");
        fs::create_dir(&lower)?;
        mounts::mount(c"tmpfs", &lower, "")?;
        let spares = lower.join(SPARE);
        fs::create_dir(&spares)?;
        for _ in 0..SPARES {
            let inode = File::create(spares.join("new"))?.metadata()?.ino();
            fs::rename(spares.join("new"), spares.join(inode.to_string()))?;
        }
        let trial = Path::new(MEMORY).join("trial");
        drop(Layers::over(&lower, &trial)?);
        fs::remove_dir_all(trial)?;
        LOWER.get_or_init(|| lower);
        Ok(())
    });
    prepared.map_err(|error| format!("no overlayfs over two tmpfs in a user namespace: {error}"))
}

/// Both layers, mounted.
#[derive(Debug)]
pub(crate) struct Layers {
    upper: PathBuf,
    tree: PathBuf,
    /// Empty files beside the share: after each the one that differs from it by the device alone, its time of birth mostly
    /// included, since they are made in one tick of the kernel's clock.
    twins: VecDeque<PathBuf>,
    /// `st_dev` of what came from the lower one.
    lower: u64,
}

impl Layers {
    /// In a directory that is not there yet; none, if this process can't mount.
    pub(crate) fn mount(base: &Path) -> Option<Self> {
        Some(Self::over(LOWER.get()?, base).unwrap())
    }

    fn over(lower: &Path, base: &Path) -> io::Result<Self> {
        let mut layers = Self { upper: base.join("upper"), tree: base.join("tree"), twins: VecDeque::new(), lower: 0 };
        fs::create_dir_all(&layers.upper)?;
        fs::create_dir(&layers.tree)?;
        mounts::mount(c"tmpfs", &layers.upper, "")?; // a new one: it counts its inodes from the first
        let (files, work) = (layers.upper.join("files"), layers.upper.join("work"));
        fs::create_dir(&files)?;
        fs::create_dir(&work)?;
        let [lower, files, work] = [lower, &files, &work].map(Path::display);
        let options = format!("userxattr,xino=off,lowerdir={lower},upperdir={files},workdir={work}");
        mounts::mount(c"overlay", &layers.tree, &options)?;
        fs::create_dir(layers.share())?;
        layers.make_twins()?;
        Ok(layers)
    }

    fn make_twins(&mut self) -> io::Result<()> {
        let beside = self.tree.join("twins");
        fs::create_dir(&beside)?;
        for pair in 0..PAIRS {
            let (upper, lower) = (beside.join(format!("upper{pair}")), beside.join(format!("lower{pair}")));
            let inode = File::create(&upper)?.metadata()?.ino();
            fs::rename(self.tree.join(SPARE).join(inode.to_string()), &lower)?; // copies it up
            self.lower = fs::metadata(&lower)?.dev();
            self.twins.extend([upper, lower]);
        }
        Ok(())
    }

    /// The directory that is to be shared.
    pub(crate) fn share(&self) -> PathBuf {
        self.tree.join("share")
    }

    /// The next of the twins.
    pub(crate) fn twin(&mut self) -> Option<PathBuf> {
        self.twins.pop_front()
    }

    /// Whether a file with this `st_dev` came from the lower one.
    pub(crate) fn is_lower(&self, dev: u64) -> bool {
        dev == self.lower
    }
}

impl Drop for Layers {
    fn drop(&mut self) {
        mounts::unmount(&self.tree);
        mounts::unmount(&self.upper);
    }
}
