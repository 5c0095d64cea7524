//! The model: a list of what should be live, and what each request should come to.

use super::requests::{Answer, Range, Request};
use daxmap_core::{FileId, FileOffset, Mapper, Mapping, Span, Stats, WindowOffset};
use std::collections::BTreeMap;

/// What the mapper should know.
#[derive(Clone, Debug)]
pub(crate) struct Naive {
    /// Which file each descriptor is of, and whether the host lets it be mapped writable.
    pub(crate) files: Vec<(FileId, bool)>,
    /// By rising window offset.
    pub(crate) live: Vec<Mapping>,
    pub(crate) closed: bool,
    pub(crate) stats: Stats,
    pub(crate) errors: BTreeMap<i32, u64>,
    page: u64,
    size: u64,
    readonly: bool,
    limit: Option<u64>,
    /// Whether ranges of one call that touch are removed as one.
    at_once: bool,
}

impl Naive {
    pub(crate) fn new(mapper: &Mapper, files: Vec<(FileId, bool)>, limit: Option<u64>, at_once: bool) -> Self {
        Self {
            files,
            live: Vec::new(),
            closed: false,
            stats: Stats::default(),
            errors: BTreeMap::new(),
            page: mapper.page_size(),
            size: mapper.window().size(),
            readonly: mapper.readonly(),
            limit,
            at_once,
        }
    }

    pub(crate) fn page_size(&self) -> u64 {
        self.page
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// What comes of a request while the backend does all that it is asked for.
    pub(crate) fn answer(&mut self, request: &Request) -> Answer {
        let answer = match request {
            Request::Drain => {
                self.sweep();
                self.closed = true;
                Answer::default()
            }
            _ if self.closed => Answer::of(libc::ENODEV),
            Request::Setup { .. } => Answer::of(self.setup(request)),
            Request::Remove(range) => Answer::of(self.remove(*range)),
            Request::RemoveBatch(entries) => {
                let errnos: Vec<_> = (0..).zip(entries.iter().map(|range| self.remove(*range))).collect();
                let count = errnos.iter().filter(|(_, errno)| *errno == 0).count() as u64;
                Answer {
                    count,
                    failed: errnos.into_iter().filter(|(_, errno)| *errno != 0).collect(),
                    ..Answer::default()
                }
            }
            Request::RemoveRange(range) => Answer::of(self.remove_range(*range)),
            Request::RemoveRanges(ranges) => Answer::of(self.remove_ranges(ranges)),
            Request::RemoveAll => Answer::of(self.remove_range((0, self.size))),
            Request::Refresh(file) => self.refresh(*file),
            Request::Reset => {
                self.sweep();
                Answer::default()
            }
            Request::Read(range) => Answer::of(if self.shows(*range) { 0 } else { libc::EFAULT }),
            Request::Write(range) => {
                let all_writable = self.live.iter().all(|live| live.writable || overlap(live, *range) == 0);
                Answer::of(match self.shows(*range) {
                    false => libc::EFAULT,
                    true if all_writable => 0,
                    true => libc::EACCES,
                })
            }
        };
        self.count_errors(&answer);
        answer
    }

    pub(crate) fn count_errors(&mut self, answer: &Answer) {
        for errno in answer.failed.iter().map(|(_, errno)| *errno).chain([answer.errno]).filter(|errno| *errno != 0) {
            *self.errors.entry(errno).or_default() += 1;
        }
    }

    fn setup(&mut self, request: &Request) -> i32 {
        let &Request::Setup { file, file_offset, range, writable, replace } = request else { unreachable!() };
        let Some(span) = self.span(range).filter(|_| file_offset % self.page == 0) else { return libc::EINVAL };
        if file_offset.checked_add(range.1).is_none_or(|end| end > i64::MAX.unsigned_abs()) {
            return libc::EINVAL;
        }
        if writable && self.readonly {
            return libc::EROFS;
        }
        let (file, can_write) = self.files[file];
        let wanted = Mapping { span, file_offset: FileOffset(file_offset), file, writable };
        let refused = writable && !can_write;
        let is_upgraded = |live: &&mut Mapping| **live == Mapping { writable: false, ..wanted } && is_of(live, file);
        if let Some(live) = self.live.iter_mut().find(is_upgraded)
            && writable
        {
            if refused {
                return libc::EACCES;
            }
            live.writable = true;
            self.stats.upgrade_count += 1;
            return 0;
        }
        if !replace && self.live.iter().any(|live| overlap(live, range) > 0) {
            return libc::EEXIST;
        }
        let mut cut = self.cut(range);
        cut.left.push(wanted);
        if self.is_over_limit(&cut) {
            return libc::ENOSPC;
        }
        if refused {
            return libc::EACCES;
        }
        self.stats.replaced_count += cut.gone;
        self.stats.setup_count += 1;
        self.stats.setup_bytes += range.1;
        self.take_over(cut);
        0
    }

    fn remove(&mut self, (offset, length): Range) -> i32 {
        match self.live.iter().find(|live| live.span.start().0 == offset) {
            None => libc::ENOENT,
            Some(live) if live.span.length() != length => libc::EINVAL,
            Some(_) => self.remove_range((offset, length)),
        }
    }

    fn remove_range(&mut self, range: Range) -> i32 {
        if self.span(range).is_none() {
            return libc::EINVAL;
        }
        let cut = self.cut(range);
        if self.is_over_limit(&cut) {
            return libc::ENOSPC;
        }
        self.stats.remove_count += cut.gone;
        self.take_over(cut);
        0
    }

    /// Every range is tried. The answer is the first error; all are counted.
    fn remove_ranges(&mut self, ranges: &[Range]) -> i32 {
        let mut errors = ranges.iter().filter(|range| self.span(**range).is_none()).count() as u64;
        let mut valid: Vec<Range> = ranges.iter().copied().filter(|range| self.span(*range).is_some()).collect();
        valid.sort_by_key(|(offset, _)| *offset);
        if self.at_once {
            valid.dedup_by(|(offset, length), (before, long)| {
                let touches = *offset <= *before + *long;
                *long = if touches { (*offset + *length).max(*before + *long) - *before } else { *long };
                touches
            });
        }
        for range in valid {
            assert_eq!(self.remove_range(range), 0, "only the limit could say no, and there is none");
        }
        let errno = if errors > 0 { libc::EINVAL } else { 0 };
        errors = errors.saturating_sub(1); // the answer's own is counted with the answer
        if errors > 0 {
            *self.errors.entry(libc::EINVAL).or_default() += errors;
        }
        errno
    }

    fn refresh(&mut self, file: usize) -> Answer {
        let (file, can_write) = self.files[file];
        let of_file = self.live.iter().filter(|live| is_of(live, file));
        let (writable, all) = (of_file.clone().any(|live| live.writable), of_file.count() as u64);
        if writable && !can_write { Answer::of(libc::EACCES) } else { Answer { count: all, ..Answer::default() } }
    }

    fn sweep(&mut self) {
        self.stats.swept_count += self.live.len() as u64;
        self.live.clear();
    }

    fn span(&self, (offset, length): Range) -> Option<Span> {
        let aligned = offset % self.page == 0 && length % self.page == 0;
        Span::new(WindowOffset(offset), length).filter(|span| aligned && span.end().0 <= self.size)
    }

    /// What is left of all that is live when `range` is taken out of it.
    fn cut(&self, (offset, length): Range) -> Cut {
        let mut cut = Cut::default();
        for live in &self.live {
            let (start, end) = (live.span.start().0, live.span.end().0);
            let before = cut.left.len();
            for (from, to) in [(start, end.min(offset)), (start.max(offset + length), end)] {
                if from < to {
                    let span = Span::new(WindowOffset(from), to - from).unwrap();
                    cut.left.push(Mapping {
                        span,
                        file_offset: FileOffset(live.file_offset.0 + from - start),
                        ..*live
                    });
                }
            }
            match cut.left.len() - before {
                0 => cut.gone += 1,
                pieces => cut.split += pieces as u64 - 1,
            }
        }
        cut
    }

    fn is_over_limit(&self, cut: &Cut) -> bool {
        cut.left.len() > self.live.len() && self.limit.is_some_and(|limit| cut.left.len() as u64 > limit)
    }

    fn take_over(&mut self, cut: Cut) {
        self.stats.split_count += cut.split;
        self.live = cut.left;
        self.live.sort_by_key(|live| live.span.start());
        self.stats.peak_mappings = self.stats.peak_mappings.max(self.live.len() as u64);
    }

    /// Whether mappings show each of these bytes.
    fn shows(&self, range: Range) -> bool {
        let shown: u64 = self.live.iter().map(|live| overlap(live, range)).sum();
        shown == range.1
    }

    /// Checks all that the mapper says of itself.
    pub(crate) fn agrees_with(&self, mapper: &Mapper) {
        assert_eq!(mapper.mappings().unwrap(), self.live);
        for mapping in &self.live {
            for offset in [mapping.span.start().0, mapping.span.end().0 - 1] {
                assert_eq!(mapper.lookup(WindowOffset(offset)).unwrap(), Some(*mapping));
            }
        }
        let stats = mapper.stats();
        assert_balanced(&stats);
        let live_bytes = self.live.iter().map(|mapping| mapping.span.length()).sum();
        let errors = self.errors.iter().map(|(errno, count)| (*errno, *count)).collect();
        assert_eq!(stats, Stats { live_mappings: self.live.len() as u64, live_bytes, errors, ..self.stats.clone() });
        assert_eq!(mapper.is_closed(), self.closed);
    }
}

/// What a cut leaves, how many entries are gone, and how many there are more.
#[derive(Default)]
struct Cut {
    left: Vec<Mapping>,
    gone: u64,
    split: u64,
}

/// The identity of the counters.
pub(crate) fn assert_balanced(stats: &Stats) {
    let departed =
        stats.remove_count + stats.replaced_count + stats.swept_count + stats.leaked_count + stats.lost_count;
    assert_eq!(stats.setup_count + stats.split_count, departed + stats.live_mappings, "{stats:?}");
}

/// Not by the comparison of `FileId`, which is daxmap's.
fn is_of(live: &Mapping, file: FileId) -> bool {
    (live.file.dev, live.file.ino) == (file.dev, file.ino)
}

/// How many bytes of a range a mapping shows.
pub(crate) fn overlap(mapping: &Mapping, (offset, length): Range) -> u64 {
    let (start, end) = (mapping.span.start().0.max(offset), mapping.span.end().0.min(offset.saturating_add(length)));
    end.saturating_sub(start)
}
