//! Over a real host window: the kernel's own view of it has to agree too.

use crate::attempts::{Fate, Kind, Verdict};
use crate::budget::Alone;
use crate::files::File;
use crate::maps::{Piece, joined, within};
use crate::naive::Naive;
use crate::requests::{BASE, Request, Step, steps};
use daxmap_core::{GuestAddress, HostWindow, Mapper, Mapping, Options, page_size};
use proptest::prelude::*;

const SLOT: u64 = 2 << 20;
const SLOTS: u64 = 4;
const FILE_SIZE: u64 = SLOT + 1000;

/// A window whose last slot is a short one.
fn size() -> u64 {
    SLOTS * SLOT + page_size()
}

/// Offsets around the slots' ends, where holes of two kinds meet.
fn walk() -> impl Strategy<Value = Vec<Step>> {
    let page = page_size();
    let near_an_end = |slot: u64| [slot * SLOT, slot * SLOT + page, (slot + 1) * SLOT - page];
    let offsets = (0..SLOTS).flat_map(near_an_end).chain([SLOTS * SLOT]).collect();
    let lengths = vec![page, page, 2 * page, SLOT, SLOT, SLOT + page, 2 * SLOT];
    prop::collection::vec(steps(offsets, lengths, 4), 1..30)
}

/// What the kernel makes of a request: it refuses to write through a descriptor that is open for reading.
struct Kernel {
    can_write: bool,
}

impl Kernel {
    fn facing(request: &Request, files: &[File]) -> Self {
        Self { can_write: !matches!(request, Request::Setup { file, .. } if !files[*file].writable) }
    }
}

impl Fate for Kernel {
    fn of(&mut self, kind: Kind, mapping: &Mapping) -> Verdict {
        let refused = kind != Kind::Unmap && mapping.writable && !self.can_write;
        if refused { Verdict::Refused(libc::EACCES) } else { Verdict::Done }
    }
}

fn expected(naive: &Naive, start: u64) -> Vec<Piece> {
    let mut live = naive.live.clone();
    live.sort_by_key(|mapping| mapping.span.start());
    let mut pieces = Vec::new();
    let mut reached = start;
    for mapping in live {
        let (from, to) = (start + mapping.span.start().0, start + mapping.span.end().0);
        pieces.push(Piece::hole(reached, from));
        let access = if mapping.writable { "rw-s" } else { "r--s" };
        let (inode, file_offset) = (mapping.file.ino, mapping.file_offset.0);
        pieces.push(Piece { start: from, end: to, access, inode, file_offset });
        reached = to;
    }
    pieces.push(Piece::hole(reached, start + size()));
    joined(pieces)
}

fn check_bytes(mapper: &Mapper, naive: &Naive, files: &[File]) {
    for mapping in &naive.live {
        let file = files.iter().find(|file| file.id == mapping.file).unwrap();
        let address = GuestAddress(BASE + mapping.span.start().0);
        let shown = file.shown(mapping.file_offset.0, mapping.span.length(), page_size());
        assert!(mapper.read(address, shown.len() as u64).unwrap() == shown, "other bytes than the file's");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mapper_kernel_and_model_agree(walk in walk(), readonly in prop::bool::weighted(0.1)) {
        let budget = Alone::new();
        let files: Vec<File> = [File::pair(FILE_SIZE), File::pair(FILE_SIZE)].into_iter().flatten().collect();
        let window = HostWindow::new().unwrap();
        let options = Options { readonly, ..Options::default() };
        let mapper = Mapper::new(GuestAddress(BASE), size(), options, |of| window.attach(of)).unwrap();
        let start = mapper.host_address().unwrap() as u64;
        let mut naive = Naive::new(&mapper, files.iter().map(|file| file.id).collect(), None);
        for step in walk {
            let request = step.resolve(&naive);
            if matches!(request, Request::Read(..) | Request::Write(..)) {
                continue; // which pages lie past the end of the file is for the check of the bytes
            }
            let answer = request.make(&mapper, &files);
            prop_assert_eq!(answer, naive.answer(&request, &mut Kernel::facing(&request, &files)), "{:?}", request);
            naive.agrees_with(&mapper);
            prop_assert_eq!(within(start, start + size()), expected(&naive, start));
            check_bytes(&mapper, &naive, &files);
            let vmas = if naive.closed { 0 } else { SLOTS + 1 + 2 * naive.live.len() as u64 };
            prop_assert_eq!(budget.charged(), vmas);
        }
        mapper.drain_all().unwrap();
        prop_assert_eq!(within(start, start + size()), [Piece::hole(start, start + size())]);
        window.release().unwrap();
        prop_assert_eq!(budget.charged(), 0);
    }
}
