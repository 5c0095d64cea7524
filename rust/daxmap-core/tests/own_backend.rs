//! A backend of one's own that has what the trait demands, and no more.
#![allow(clippy::unwrap_used, missing_docs)]

use daxmap_core::{
    Backend, Change, Errno, Error, Failure, FileOffset, GuestAddress, MapRequest, Mapper, Options, Overlap, Refusal,
    Span, WindowOffset, page_size,
};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const BASE: GuestAddress = GuestAddress(1 << 32);

/// Of a guest in another process, which does not answer. What the guest was shown stays with it once it `keeps` all.
#[derive(Debug, Default)]
struct Elsewhere {
    keeps: Arc<AtomicBool>,
    at_once: bool,
    unknown: u64,
}

impl Backend for Elsewhere {
    fn changes_at_once(&self) -> bool {
        self.at_once
    }

    fn settle(&mut self, _: Span, _: &mut Vec<String>) -> Result<(), Refusal> {
        if self.keeps.load(Relaxed) {
            return Err(Refusal::io("the guest does not say"));
        }
        self.unknown = 0;
        Ok(())
    }

    fn change(&mut self, change: &Change<'_>, _: &mut Vec<String>) -> Result<(), Failure> {
        if change.new.is_none() && self.keeps.load(Relaxed) {
            return Err(Failure::Unchanged(Refusal::io("the guest keeps it")));
        }
        Ok(())
    }

    fn read(&self, _: WindowOffset, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno(libc::EIO))
    }

    fn write(&self, _: WindowOffset, _: &[u8]) -> Result<(), Errno> {
        Err(Errno(libc::EIO))
    }

    fn unsettled(&self) -> u64 {
        self.unknown
    }
}

fn mapper_over(backend: Elsewhere) -> Mapper {
    Mapper::new(BASE, 2 << 20, Options::default(), |_| Ok(Box::new(backend))).unwrap()
}

/// Shows a page of this program at the start of the window.
fn map_page(mapper: &Mapper) {
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let (file_offset, window_offset) = (FileOffset(0), WindowOffset(0));
    let request = MapRequest { file_offset, window_offset, length: mapper.page_size(), writable: false };
    mapper.setup(file.as_raw_fd(), &request, Overlap::Refuse).unwrap();
}

#[test]
fn memory_of_another_process_is_not_lent_and_not_looked_into() {
    let mapper = mapper_over(Elsewhere::default());
    map_page(&mapper);
    assert_eq!(mapper.host_address(), None);
    assert!(matches!(mapper.resolve(BASE, 1, false), Err(Error::Elsewhere { .. })));
    let told = mapper.explain(BASE).unwrap();
    assert!(told.ends_with("whether the host has its page can't be told: Input/output error"), "{told}");
    let surveyed = mapper.survey().unwrap();
    assert_eq!((surveyed.len(), surveyed[0].resident.as_slice()), (1, [].as_slice()));
    assert!(format!("{mapper:?}").contains("live_mappings: 1, closed: false"), "{mapper:?}");
    mapper.drain_all().unwrap();
    assert_eq!(mapper.stats().swept_count, 1);
}

#[test]
fn what_a_guest_keeps_at_the_end_is_leaked() {
    let keeps = Arc::new(AtomicBool::new(false));
    let mapper = mapper_over(Elsewhere { keeps: Arc::clone(&keeps), ..Elsewhere::default() });
    map_page(&mapper);
    keeps.store(true, Relaxed);
    mapper.drain_all().unwrap();
    assert_eq!((mapper.stats().leaked_count, mapper.stats().live_mappings), (1, 0));
}

const UNKNOWN: &str = "of 2 ranges of the window it is unknown whether the guest still sees them";

#[test]
fn a_range_that_nobody_knows_is_settled_by_a_removal() {
    let page = page_size();
    let ranges = [(WindowOffset(0), page), (WindowOffset(page), page)];
    for (at_once, ranges) in [(false, &ranges[..1]), (true, &ranges[..1]), (false, &ranges), (true, &ranges)] {
        let keeps = Arc::new(AtomicBool::new(true));
        let mapper = mapper_over(Elsewhere { keeps: Arc::clone(&keeps), at_once, unknown: 2 });
        assert!(mapper.explain(BASE).unwrap().contains(UNKNOWN));
        let error = mapper.remove_ranges(ranges).unwrap_err();
        assert!(matches!(error, Error::Unsettled { .. }), "{error}");
        assert!(mapper.explain(BASE).unwrap().contains(UNKNOWN));

        keeps.store(false, Relaxed);
        mapper.remove_ranges(ranges).unwrap();
        assert!(!mapper.explain(BASE).unwrap().contains(UNKNOWN), "at once: {at_once}, {} ranges", ranges.len());
        map_page(&mapper);
        mapper.drain_all().unwrap();
    }
}
