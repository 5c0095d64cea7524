//! A mapper over a guest that takes one range at a time: every request is checked against the model, the guest's memory
//! and this process.

use crate::budget::Alone;
use crate::cpu::Cpu;
use crate::files::File;
use crate::guest::{Fault, Guest, Origin};
use crate::maps;
use crate::naive::Naive;
use crate::own_steps::OwnSteps;
use crate::requests::{Answer, BASE, Request};
use daxmap_core::{GuestAddress, HypervisorBackend, Mapper, Options, Stepwise, page_size};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The window of random walks.
pub(crate) const PAGES: u64 = 10;
/// Not a whole number of pages.
const FILE_SIZE: u64 = 5000;

/// How a guest is shown files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// Host memory, that a hypervisor shows.
    Memory,
    /// Descriptors, that the VMM maps by itself.
    Descriptors,
}

/// What kind of guest it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) through: Through,
    /// See [`crate::guest::Memory`].
    pub(crate) strict: bool,
    pub(crate) can_protect: bool,
    pub(crate) readonly: bool,
}

/// How a case ends, once nothing fails any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The whole window is set up anew.
    Setup,
    /// All is removed.
    Removal,
    /// The mapper is drained with what there is.
    Drain,
}

pub(crate) const ENDS: [End; 3] = [End::Setup, End::Removal, End::Drain];

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) naive: Naive,
    pub(crate) guest: Guest,
    mapper: Mapper,
    kind: Kind,
    /// A file open for reading and writing, the same open for reading, and another that is open for reading only.
    files: [File; 3],
    budget: Alone,
    /// Whether mappings of one file and access may have descriptors of their own: something failed, or could not be refreshed.
    uneven: bool,
}

impl World {
    pub(crate) const FILES: usize = 3;

    pub(crate) fn new(kind: Kind) -> Self {
        Self::of_pages(PAGES, kind)
    }

    pub(crate) fn of_pages(pages: u64, kind: Kind) -> Self {
        let budget = Alone::new();
        let ([both, read_only], [_, other]) = (File::pair(FILE_SIZE), File::pair(FILE_SIZE));
        let files = [both, read_only, other];
        let guest = Guest::new(kind.strict, page_size());
        let options = Options { readonly: kind.readonly, ..Options::default() };
        let mapper = Mapper::new(GuestAddress(BASE), pages * page_size(), options, |window| {
            let guest = guest.clone();
            Ok(if kind.through == Through::Memory {
                Box::new(HypervisorBackend::over(Cpu { guest, can_protect: kind.can_protect }, window, kind.readonly))
            } else {
                Box::new(Stepwise::new(OwnSteps::new(guest, kind.can_protect)))
            })
        });
        let mapper = mapper.unwrap();
        let access = files.iter().map(|file| (file.id, file.writable)).collect();
        let naive = Naive::new(&mapper, access, None, false);
        Self { naive, guest, mapper, kind, files, budget, uneven: false }
    }

    /// Makes a request, whose calls come to what the plan says, and checks all. Returns how many calls it made.
    pub(crate) fn make(&mut self, request: &Request, plan: impl IntoIterator<Item = Fault>) -> (Answer, usize) {
        {
            let mut memory = self.guest.memory();
            memory.plan = plan.into_iter().collect();
            (memory.calls, memory.failed) = (0, false);
        }
        let answer = request.make(&self.mapper, &self.files);
        let (calls, failed) = {
            let mut memory = self.guest.memory();
            memory.plan.clear();
            (memory.calls, memory.failed)
        };
        self.uneven |= failed || (matches!(request, Request::Refresh(_)) && answer.errno != 0);
        self.naive.check(request, &answer, &self.mapper, failed);
        self.check();
        (answer, calls)
    }

    /// Makes a request that nothing fails of, and checks no more than the model's book.
    pub(crate) fn make_unchecked(&mut self, request: &Request) -> Answer {
        let answer = request.make(&self.mapper, &self.files);
        assert_eq!(answer, self.naive.answer(request));
        answer
    }

    /// Ranges of which it is unknown whether the guest sees them: charged, but in no book.
    pub(crate) fn unknown(&self) -> u64 {
        self.budget.charged() - self.naive.live.len() as u64 - self.naive.stats.leaked_count
    }

    /// The guest sees what the book says, and with the access that the book says. What it sees besides is unknown, and
    /// kept. What it does not see is freed.
    fn check(&self) {
        let memory = self.guest.memory();
        let mapped = maps::of(&self.inodes());
        let shown = |at: u64| {
            let (origin, writable) = *memory.pages.get(&at)?;
            Some(match origin {
                Origin::File(file, offset) => (file.ino, offset, writable),
                Origin::Memory(address) => {
                    let piece = mapped.iter().find(|piece| (piece.start..piece.end).contains(&address));
                    let piece = piece.unwrap_or_else(|| panic!("page {at:#x} of the guest is freed memory"));
                    self.check_sharing(piece.inode, piece.access, writable);
                    (piece.inode, piece.file_offset + address - piece.start, writable)
                }
            })
        };
        let mut in_book = BTreeSet::new();
        for live in &self.naive.live {
            for skipped in (0..live.span.length()).step_by(usize::try_from(page_size()).unwrap()) {
                let at = live.span.start().0 + skipped;
                assert_eq!(shown(at), Some((live.file.ino, live.file_offset.0 + skipped, live.writable)), "{at:#x}");
                in_book.insert(at);
            }
        }
        let unknown = self.unknown();
        for at in memory.pages.keys().filter(|at| !in_book.contains(at)) {
            assert!(unknown > 0 || self.naive.closed, "the guest sees {at:#x}, and nobody knows");
            assert!(shown(*at).is_some_and(|(inode, ..)| self.is_ours(inode)));
        }
        if self.kind.through == Through::Memory && unknown == 0 && !self.naive.closed {
            for piece in mapped {
                let is_used = memory.pages.values().any(|(origin, _)| {
                    matches!(origin, Origin::Memory(address) if (piece.start..piece.end).contains(address))
                });
                assert!(is_used, "no guest sees {piece:x?}");
            }
        }
        if self.kind.through == Through::Descriptors {
            self.check_descriptors(&memory.pages);
        }
    }

    /// What is not to reach a file is private.
    fn check_sharing(&self, inode: u64, access: &str, writable: bool) {
        let never_written = self.kind.readonly || inode == self.files[2].id.ino;
        assert!(access == "rw-s" || access == "rw-p", "{access}");
        assert!(access == "rw-p" || !never_written, "what is only read could be written");
        assert!(access == "rw-s" || !writable, "stores would not reach the file");
    }

    /// One descriptor is kept for each file and access that is mapped, and none of files of which nothing is.
    fn check_descriptors(&self, pages: &BTreeMap<u64, (Origin, bool)>) {
        let kept = self.descriptors();
        let seen: BTreeSet<_> = pages.values().map(|(origin, writable)| (inode_of(*origin), *writable)).collect();
        let inodes: BTreeSet<_> = seen.iter().map(|(inode, _)| *inode).collect();
        assert!(self.naive.closed || inodes.iter().all(|inode| kept.contains(inode)), "a file is not kept");
        if self.uneven {
            assert!(kept.len() as u64 <= self.naive.live.len() as u64 + self.unknown());
        } else {
            assert_eq!(kept.len(), seen.len());
        }
    }

    /// The inodes of our files that descriptors are open of, but for the test's own.
    fn descriptors(&self) -> Vec<u64> {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let mut inodes: Vec<u64> =
            open.filter_map(|entry| Some(std::fs::metadata(entry.unwrap().path()).ok()?.ino())).collect();
        inodes.retain(|inode| self.is_ours(*inode));
        for file in &self.files {
            let own = inodes.iter().position(|inode| *inode == file.id.ino).unwrap();
            inodes.swap_remove(own);
        }
        inodes
    }

    /// How many descriptors of the first file are open for writing.
    pub(crate) fn open_for_writing(&self) -> usize {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
        let of_file = open.filter(|fd| std::fs::metadata(fd).is_ok_and(|of| of.ino() == self.files[0].id.ino));
        // `proc_pid_fdinfo(5)`: the flags in octal; the last bits are the access mode.
        let info = |fd: PathBuf| std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(fd.file_name().unwrap()));
        let writable = |info: &String| info.lines().any(|line| line.starts_with("flags:") && line.ends_with('2'));
        of_file.map(|fd| info(fd).unwrap()).filter(writable).count()
    }

    fn inodes(&self) -> [u64; 3] {
        self.files.each_ref().map(|file| file.id.ino)
    }

    fn is_ours(&self, inode: u64) -> bool {
        self.files.iter().any(|file| file.id.ino == inode)
    }

    /// Nothing fails any more: book and guest become equal, and then nothing is left.
    pub(crate) fn end(mut self, how: End) {
        let (whole, pages) = ((0, self.mapper.window().size()), self.mapper.window().size() / page_size());
        let everything = Request::Setup { file: 1, file_offset: 0, range: whole, writable: false, replace: true };
        if !self.naive.closed && matches!(how, End::Removal) {
            self.make(&Request::RemoveAll, []);
            assert!(self.guest.memory().pages.is_empty(), "the guest still sees something");
            assert!(self.kind.strict || self.unknown() == 0, "a guest that takes every unmap leaves nothing unknown");
        }
        if !self.naive.closed && matches!(how, End::Setup | End::Removal) {
            assert_eq!(self.make(&everything, []).0.errno, 0);
            assert_eq!((self.unknown(), self.guest.memory().pages.len() as u64), (0, pages));
        }
        let was_open = !self.naive.closed;
        self.make(&Request::Drain, []);
        if was_open {
            assert!(self.guest.memory().pages.is_empty(), "the guest still sees something");
        }
        if self.guest.memory().pages.is_empty() && self.unknown() == 0 && self.naive.stats.leaked_count == 0 {
            assert_eq!(maps::of(&self.inodes()), [], "memory is left");
            assert_eq!(self.descriptors(), [0; 0]);
        }
        assert!(!was_open || self.naive.stats.leaked_count == 0);
    }
}

fn inode_of(origin: Origin) -> u64 {
    match origin {
        Origin::File(file, _) => file.ino,
        Origin::Memory(_) => 0,
    }
}
