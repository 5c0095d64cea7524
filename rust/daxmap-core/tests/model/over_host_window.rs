//! Over a real host window: the kernel's own view of it has to agree too.

use crate::budget::Alone;
use crate::files::File;
use crate::maps::{Piece, vmas, window_of, within};
use crate::naive::Naive;
use crate::random_requests::{Step, steps};
use crate::requests::{BASE, Request};
use daxmap_core::{DAX_RANGE, GuestAddress, HostWindowBackend, Mapper, Options, page_size};
use proptest::prelude::*;

const RANGES: u64 = 4;
const FILE_SIZE: u64 = DAX_RANGE + 1000;

/// A window whose last range is a short one.
fn size() -> u64 {
    RANGES * DAX_RANGE + page_size()
}

/// Offsets around the ends of ranges, where holes of two kinds meet.
fn walk() -> impl Strategy<Value = Vec<Step>> {
    let page = page_size();
    let near_an_end = |range: u64| [0, page, DAX_RANGE - page].map(|offset| range * DAX_RANGE + offset);
    let offsets = (0..RANGES).flat_map(near_an_end).chain([RANGES * DAX_RANGE]).collect();
    let lengths = vec![page, page, 2 * page, DAX_RANGE, DAX_RANGE, DAX_RANGE + page, 2 * DAX_RANGE, 3 * DAX_RANGE];
    prop::collection::vec(steps(offsets, lengths, 4), 1..30)
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
    fn mapper_kernel_and_model_agree(
        walk in walk(),
        readonly in prop::bool::weighted(0.1),
        max_mappings in prop::option::weighted(0.3, 1..6u64),
    ) {
        let budget = Alone::new();
        let files: Vec<File> = [File::pair(FILE_SIZE), File::pair(FILE_SIZE)].into_iter().flatten().collect();
        let window = HostWindowBackend::new().unwrap();
        let options = Options { readonly, max_mappings, ..Options::default() };
        let mapper = Mapper::new(GuestAddress(BASE), size(), options, |of| window.attach(of)).unwrap();
        let start = mapper.host_address().unwrap() as u64;
        let access = files.iter().map(|file| (file.id, file.writable)).collect();
        let mut naive = Naive::new(&mapper, access, max_mappings, true);
        for step in walk {
            let request = step.resolve(&naive);
            if matches!(request, Request::Read(..) | Request::Write(..)) {
                continue; // which pages lie past the end of the file is for the check of the bytes
            }
            let answer = request.make(&mapper, &files);
            naive.check(&request, &answer, &mapper, false);
            prop_assert_eq!(within(start, start + size()), window_of(&naive.live, start, start + size()));
            check_bytes(&mapper, &naive, &files);
            let (charged, mapped) = (budget.charged(), 2 * naive.live.len() as u64);
            let holes = if naive.closed { 0..=0 } else { 1..=RANGES + 1 };
            prop_assert!(holes.contains(&charged.saturating_sub(mapped)), "{charged} for {mapped} of mappings");
            prop_assert!(vmas(start, start + size()) <= charged.max(1), "more VMAs than were charged");
        }
        mapper.drain_all().unwrap();
        prop_assert_eq!(within(start, start + size()), [Piece::hole(start, start + size())]);
        window.release().unwrap();
        prop_assert_eq!(budget.charged(), 0);
    }
}
