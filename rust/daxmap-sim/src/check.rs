//! What each guest sees is what the files say.

use crate::machine::{Machine, Window};
use crate::model::guest::Origin;
use crate::model::maps::{window_of, within};
use crate::rng::Rng;
use crate::stage::Stage;
use crate::sys::memory::Fault;
use daxmap_core::{Mapping, page_size};

/// The most mappings of which words are compared after a step.
const COMPARED: usize = 8;

impl Machine {
    fn mapping_at(&self, offset: u64) -> Option<&Mapping> {
        let after = self.naive.live.partition_point(|live| live.span.start().0 <= offset);
        self.naive.live[..after].last().filter(|live| offset < live.span.end().0)
    }

    /// Loads a word, and holds it to the file.
    pub(crate) fn checked_load(&self, stage: &Stage, offset: u64) -> Result<u64, Fault> {
        if self.naive.closed {
            return Err(Fault); // others' memory may be there
        }
        let found = self.load(&stage.disk, offset);
        match self.mapping_at(offset) {
            Some(mapping) => {
                let (key, at) = Self::file_at(stage, mapping, offset);
                let expected = stage.disk.word(key, at).ok_or(Fault);
                assert_eq!(found, expected, "machine {}, offset {offset:#x}: file {key} at {at:#x}", self.number);
            }
            None => assert!(found.is_err() || self.unknown() > 0, "machine {} sees {found:x?} in a hole", self.number),
        }
        found
    }

    /// Stores a word, if the file says that it may, and holds what comes of it to the book.
    pub(crate) fn checked_store(&mut self, stage: &mut Stage, offset: u64) -> Result<(), Fault> {
        let Some(mapping) = self.mapping_at(offset).filter(|_| !self.naive.closed).copied() else { return Err(Fault) };
        let (key, at) = Self::file_at(stage, &mapping, offset);
        let (word, size) = (stage.disk.new_word(), stage.disk.files[key].size);
        if mapping.writable && size <= at && at < size.next_multiple_of(page_size()) {
            return Err(Fault); // what the kernel does with the rest of a page when the file grows is its own affair
        }
        let done = self.store(&stage.disk, offset, word);
        let expected = if mapping.writable && at < size { Ok(()) } else { Err(Fault) };
        assert_eq!(done, expected, "a store at {offset:#x}, to file {key} at {at:#x}: {mapping:?}");
        if done.is_ok() {
            stage.disk.wrote(key, at, &[word]);
        }
        done
    }

    /// The file that a mapping shows, and where in it the byte is that it shows at `offset`.
    fn file_at(stage: &Stage, mapping: &Mapping, offset: u64) -> (usize, u64) {
        let key = stage.disk.key_of(mapping.file).unwrap();
        (key, mapping.file_offset.0 + offset - mapping.span.start().0)
    }

    /// Compares some words of what is mapped, and of what is not.
    pub(crate) fn check_words(&self, stage: &Stage, rng: &mut Rng) {
        if self.naive.closed {
            return;
        }
        let count = self.naive.live.len();
        for _ in 0..count.min(COMPARED) {
            let span = self.naive.live[rng.index(count)].span;
            for offset in [span.start().0, span.start().0 + rng.below(span.length() / 8) * 8] {
                let _ = self.checked_load(stage, offset);
            }
        }
        let _ = self.checked_load(stage, rng.below(self.mapper.window().size() / 8) * 8);
    }

    /// The kernel, or the hypervisor, has the same mappings as the book.
    pub(crate) fn look(&self) {
        if self.naive.closed {
            return;
        }
        match &self.window {
            Window::Host(_) => {
                let start = self.mapper.host_address().unwrap() as u64;
                let end = start + self.mapper.window().size();
                assert_eq!(
                    within(start, end),
                    window_of(&self.naive.live, start, end),
                    "machine {}: /proc/self/maps",
                    self.number
                );
            }
            Window::Pages(memory) => {
                let memory = memory.memory();
                let mut pages = 0;
                for live in &self.naive.live {
                    pages += live.span.length() / page_size();
                    for offset in [live.span.start().0, live.span.end().0 - page_size()] {
                        let file_offset = live.file_offset.0 + offset - live.span.start().0;
                        let expected = Some((live.file.ino, file_offset, live.writable));
                        let found = memory.pages.get(&offset).map(|(origin, writable)| {
                            let (inode, file_offset) = file_behind(*origin);
                            (inode, file_offset, *writable)
                        });
                        assert_eq!(found, expected, "machine {}: what the guest sees of {live:?}", self.number);
                    }
                }
                let seen = memory.pages.len() as u64;
                assert!(seen == pages || seen > pages && self.unknown() > 0, "{seen} pages seen, {pages} in the book");
            }
        }
    }
}

/// The inode and the offset of what backs a page.
fn file_behind(origin: Origin) -> (u64, u64) {
    match origin {
        Origin::File(id, file_offset) => (id.ino, file_offset),
        Origin::Memory(address) => match within(address, address + page_size()).as_slice() {
            [piece] => (piece.inode, piece.file_offset),
            pieces => panic!("a page of the guest is backed by {pieces:x?}"),
        },
    }
}
