//! The shared directory as it should be, beside the real one: names, and what is in the files.

use crate::layers::{Layers, MEMORY};
use daxmap_core::{FileId, page_size};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A file, as the simulator knows it, by whatever names.
pub(crate) type Key = usize;

/// All data is written in words of this size, at multiples of it, and all sizes are multiples of it.
pub(crate) const WORD: u64 = 8;
/// A little more than four ranges of a window.
pub(crate) const LARGEST: u64 = 4 * daxmap_core::DAX_RANGE + 3 * 4096;

/// A directory, and a number that is a name in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// 0 is the share itself, 1 the directory in it.
    pub(crate) directory: usize,
    pub(crate) number: u64,
}

/// The name of the directory in the share.
pub(crate) const DIRECTORY: &str = "d";
/// How many names there are in each directory.
pub(crate) const NAMES: u64 = 7;

impl Name {
    /// Its last component.
    pub(crate) fn text(self) -> String {
        format!("f{}", self.number)
    }
}

/// What a file should have.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: FileId,
    pub(crate) size: u64,
    /// By offset; what is not here is 0.
    words: BTreeMap<u64, u64>,
    /// The file itself, whatever becomes of its names.
    open: File,
}

/// The real directory, and what should be in it.
#[derive(Debug)]
pub(crate) struct Disk {
    base: PathBuf,
    root: PathBuf,
    /// Where files of two devices lie in it.
    layers: Option<Layers>,
    pub(crate) files: Vec<Stored>,
    pub(crate) names: BTreeMap<Name, Key>,
    written: u64,
}

impl Disk {
    /// In memory, where there is a file system for that; with files of two devices, if so wanted and if there can be a
    /// second.
    pub(crate) fn new(two_devices: bool) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let parent = Path::new(MEMORY);
        let parent = if parent.is_dir() { parent.to_owned() } else { std::env::temp_dir() };
        let number = MADE.fetch_add(1, Relaxed);
        let base = parent.join(format!("daxmap-sim-{}-{number}", std::process::id()));
        let layers = if two_devices { Layers::mount(&base) } else { None };
        let root = layers.as_ref().map_or_else(|| base.clone(), Layers::share);
        std::fs::create_dir_all(root.join(DIRECTORY)).unwrap();
        Self { base, root, layers, files: Vec::new(), names: BTreeMap::new(), written: 0 }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, name: Name) -> PathBuf {
        let directory = if name.directory == 0 { self.root.clone() } else { self.root.join(DIRECTORY) };
        directory.join(name.text())
    }

    /// A word that no other is like.
    pub(crate) fn new_word(&mut self) -> u64 {
        self.written += 1;
        0xda00_0000_0000_0000 | self.written
    }

    /// Notes that there is a new and empty file.
    pub(crate) fn made(&mut self, name: Name) -> Key {
        let open = OpenOptions::new().read(true).write(true).open(self.path(name)).unwrap();
        let status = open.metadata().unwrap();
        let id = FileId { dev: status.dev(), ino: status.ino() };
        assert_eq!(status.len(), 0, "a new file is empty");
        self.files.push(Stored { id, size: 0, words: BTreeMap::new(), open });
        self.names.insert(name, self.files.len() - 1);
        self.files.len() - 1
    }

    pub(crate) fn id(&self, key: Key) -> FileId {
        self.files[key].id
    }

    pub(crate) fn key_of(&self, id: FileId) -> Option<Key> {
        // Not by FileId's own comparison, which is daxmap's.
        self.files.iter().position(|file| (file.id.dev, file.id.ino) == (id.dev, id.ino))
    }

    /// An empty file that lies beside the share still, and has a twin: another one that differs by its device alone.
    pub(crate) fn twin(&mut self) -> Option<PathBuf> {
        self.layers.as_mut()?.twin()
    }

    /// Whether a new link to a file would have another device and number than the file: in a user namespace overlayfs does
    /// not find out of which file of the lower layer it is one (`ovl_can_decode_fh` of fs/overlayfs/util.c).
    pub(crate) fn links_are_others(&self, key: Key) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.is_lower(self.id(key).dev))
    }

    /// Whether two of its files differ by their devices alone.
    pub(crate) fn has_twins(&self) -> bool {
        let inodes: BTreeSet<_> = self.files.iter().map(|file| file.id.ino).collect();
        inodes.len() < self.files.len()
    }

    /// What the word at `offset` is: none, past the page in which the file ends.
    pub(crate) fn word(&self, key: Key, offset: u64) -> Option<u64> {
        let file = &self.files[key];
        let shown = file.size.next_multiple_of(page_size());
        (offset < shown).then(|| file.words.get(&offset).copied().unwrap_or(0))
    }

    /// The bytes of a part of a file, as far as it goes.
    pub(crate) fn bytes(&self, key: Key, offset: u64, length: u64) -> Vec<u8> {
        let end = self.files[key].size.min(offset + length);
        let words = (offset..end).step_by(8).map(|at| self.word(key, at).unwrap_or(0));
        words.flat_map(u64::to_le_bytes).collect()
    }

    /// Notes that words were written, from `offset` on.
    pub(crate) fn wrote(&mut self, key: Key, offset: u64, words: &[u64]) {
        let file = &mut self.files[key];
        for (at, word) in (offset..).step_by(8).zip(words) {
            file.words.insert(at, *word);
        }
        file.size = file.size.max(offset + 8 * words.len() as u64);
    }

    /// Notes that a file has another size.
    pub(crate) fn resized(&mut self, key: Key, size: u64) {
        let file = &mut self.files[key];
        file.words.split_off(&size);
        file.size = size;
    }

    /// Notes that a part of a file is zeros now.
    pub(crate) fn punched(&mut self, key: Key, offset: u64, length: u64) {
        self.files[key].words.retain(|at, _| *at < offset || *at >= offset + length);
    }

    /// No descriptor of a file is left but its own.
    pub(crate) fn check_descriptors(&self) {
        let all = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let open = all.filter(|path| path.starts_with(&self.root)).count();
        assert_eq!(open, self.files.len(), "descriptors of files of the share, when all machines are off");
    }

    /// The file itself, for what the host does with it.
    pub(crate) fn open(&self, key: Key) -> &File {
        &self.files[key].open
    }

    /// What a guest loads whose VMM has mapped the file: nothing, past its last page.
    pub(crate) fn load(&self, id: FileId, offset: u64) -> Option<u64> {
        let file = self.open(self.key_of(id)?);
        let mut word = [0; 8];
        let read = file.read_at(&mut word, offset).unwrap();
        let is_shown = offset < file.metadata().unwrap().len().next_multiple_of(page_size());
        (read == 8 || is_shown).then_some(u64::from_le_bytes(word))
    }

    /// What comes of such a guest's store.
    pub(crate) fn store(&self, id: FileId, offset: u64, word: u64) -> Option<()> {
        let file = self.open(self.key_of(id)?);
        let is_in_file = offset < file.metadata().unwrap().len();
        is_in_file.then(|| file.write_all_at(&word.to_le_bytes(), offset).unwrap())
    }

    /// The real files are what they should be.
    pub(crate) fn check(&self) {
        for (key, file) in self.files.iter().enumerate() {
            let status = file.open.metadata().unwrap();
            assert_eq!(status.len(), file.size, "the size of file {key}");
            let links = self.names.values().filter(|of| **of == key).count() as u64;
            assert_eq!(status.nlink(), links, "the names of file {key}");
            for (offset, word) in &file.words {
                let mut found = [0; 8];
                file.open.read_exact_at(&mut found, *offset).unwrap();
                assert_eq!(u64::from_le_bytes(found), *word, "file {key} at {offset:#x}");
            }
        }
        for (name, key) in &self.names {
            let status = std::fs::metadata(self.path(*name)).unwrap();
            assert_eq!((status.dev(), status.ino()), (self.id(*key).dev, self.id(*key).ino), "{name:?}");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.files.clear();
        self.layers = None;
        let _ = std::fs::remove_dir_all(&self.base);
    }
}
