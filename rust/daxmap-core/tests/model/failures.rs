//! What may come of a request while calls of the backend fail. The model does not replay the backend's calls: it says
//! what is allowed, and goes on from what the mapper made of it.

use super::naive::{Naive, assert_balanced, overlap};
use super::requests::{Answer, Range, Request};
use daxmap_core::{FileId, Mapper, Mapping, Stats};
use std::collections::BTreeMap;

impl Naive {
    /// Checks the answer of a request, and what became of the mapper. `failed` is whether a call of the backend did.
    pub(crate) fn check(&mut self, request: &Request, answer: &Answer, mapper: &Mapper, failed: bool) {
        let before = self.clone();
        let expected = self.answer(request);
        let all_done =
            answer.errno == 0 && !matches!(request, Request::RemoveBatch(_) | Request::Reset | Request::Drain);
        // Ranges that were refused together, and removed one by one then, may have been cut by other cuts.
        let as_expected = all_done && !matches!(request, Request::RemoveRanges(_));
        let one_change = matches!(request, Request::Setup { .. } | Request::Remove(_));
        if !failed || as_expected {
            assert_eq!(*answer, expected, "{request:?}");
        } else if one_change && !answer.lost {
            assert_ne!(answer.errno, 0);
            *self = before; // an error that is not "lost" changes nothing
            self.count_errors(answer);
        } else {
            assert!(!all_done || mapper.mappings().unwrap() == self.live, "{request:?}");
            before.allows(request, answer, mapper);
            self.stats = mapper.stats();
            self.errors = self.stats.errors.iter().copied().collect();
            self.live = mapper.mappings().unwrap();
            self.closed = mapper.is_closed();
        }
        self.agrees_with(mapper);
    }

    /// Checks that the mapper became nothing that it may not become.
    fn allows(&self, request: &Request, answer: &Answer, mapper: &Mapper) {
        let (was, is) = (&self.stats, mapper.stats());
        assert_balanced(&is);
        let lost = is.lost_count - was.lost_count;
        let set_up = is.setup_count - was.setup_count;
        let ends = matches!(request, Request::Reset | Request::Drain);
        assert!(set_up <= lost, "what failed is only set up where it is lost at once");
        assert!(set_up == 0 || matches!(request, Request::Setup { .. } | Request::Refresh(_)), "{set_up}, {request:?}");
        assert_eq!(is.setup_bytes == was.setup_bytes, set_up == 0);
        let one_change = matches!(request, Request::Setup { .. }) && !mapper.is_closed();
        assert!(!one_change || is.peak_mappings == was.peak_mappings.max(is.live_mappings));
        assert_eq!((is.upgrade_count, is.replaced_count), (was.upgrade_count, was.replaced_count));
        assert!(is.swept_count == was.swept_count || mapper.is_closed() || ends);
        assert!(is.leaked_count == was.leaked_count || mapper.is_closed());
        if let Request::RemoveBatch(entries) = request {
            assert_eq!(answer.count + answer.failed.len() as u64, entries.len() as u64);
            assert_eq!(answer.count, is.remove_count - was.remove_count);
        }
        if !mapper.is_closed() {
            self.allows_book(request, &mapper.mappings().unwrap(), lost > 0 || answer.lost);
        }
        assert_errors_grew(was, &is);
    }

    /// No page shows what it did not show before, and pages outside of what was asked for show it still, but where the
    /// whole mapping was lost.
    fn allows_book(&self, request: &Request, live: &[Mapping], lost: bool) {
        let (before, after) = (self.pages(&self.live), self.pages(live));
        for (at, page) in &after {
            assert_eq!(before.get(at), Some(page), "page {at:#x} shows what it did not show before: {request:?}");
        }
        let asked = |range: Range| match request {
            Request::Refresh(file) => overlapping(&self.live, range).any(|live| live.file == self.files[*file].0),
            _ => request.ranges().iter().any(|(start, length)| {
                let end = start.saturating_add(*length);
                range.0 < end && *start < range.0 + range.1
            }),
        };
        let all_may_go = matches!(request, Request::Reset | Request::Drain);
        for at in before.keys().filter(|at| !after.contains_key(*at)) {
            let owner = overlapping(&self.live, (*at, 1)).next().unwrap().span;
            let in_range =
                asked((*at, self.page_size())) && !matches!(request, Request::Setup { .. } | Request::Refresh(_));
            let with_its_mapping = lost && asked((owner.start().0, owner.length()));
            assert!(all_may_go || in_range || with_its_mapping, "page {at:#x} is gone: {request:?}");
        }
    }

    fn pages(&self, live: &[Mapping]) -> BTreeMap<u64, (FileId, u64, bool)> {
        let mut pages = BTreeMap::new();
        for mapping in live {
            for skipped in (0..mapping.span.length()).step_by(usize::try_from(self.page_size()).unwrap()) {
                let shown = (mapping.file, mapping.file_offset.0 + skipped, mapping.writable);
                pages.insert(mapping.span.start().0 + skipped, shown);
            }
        }
        pages
    }
}

fn overlapping(live: &[Mapping], range: Range) -> impl Iterator<Item = &Mapping> {
    live.iter().filter(move |live| overlap(live, range) > 0)
}

fn assert_errors_grew(was: &Stats, is: &Stats) {
    for (errno, count) in &was.errors {
        assert!(is.errors.iter().any(|(other, more)| other == errno && more >= count));
    }
}
