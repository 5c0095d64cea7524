//! The model: a list of what should be live, and what each request should come to.

use crate::attempts::{Fate, Kind, Verdict};
use crate::requests::{Answer, Request};
use daxmap_core::{FileId, FileOffset, Mapper, Mapping, Span, Stats, WindowOffset};
use std::collections::BTreeMap;

/// What the mapper should know.
#[derive(Debug)]
pub(crate) struct Naive {
    pub(crate) files: Vec<FileId>,
    /// In no order.
    pub(crate) live: Vec<Mapping>,
    pub(crate) closed: bool,
    pub(crate) stats: Stats,
    page: u64,
    size: u64,
    readonly: bool,
    max_mappings: u64,
    errors: BTreeMap<i32, u64>,
}

impl Naive {
    pub(crate) fn new(mapper: &Mapper, files: Vec<FileId>, max_mappings: Option<u64>) -> Self {
        Self {
            files,
            live: Vec::new(),
            closed: false,
            stats: Stats::default(),
            page: mapper.page_size(),
            size: mapper.window().size(),
            readonly: mapper.readonly(),
            max_mappings: max_mappings.unwrap_or(u64::MAX),
            errors: BTreeMap::new(),
        }
    }

    /// What the answer to a request should be, where the backend was asked as `fate` tells.
    pub(crate) fn answer(&mut self, request: &Request, fate: &mut impl Fate) -> Answer {
        let answer = if self.closed { closed_answer(request) } else { self.open_answer(request, fate) };
        for errno in answer.failed.iter().map(|(_, errno)| *errno).chain([answer.errno]).filter(|errno| *errno != 0) {
            *self.errors.entry(errno).or_default() += 1;
        }
        if fate.gave_up() || matches!(request, Request::Drain) {
            self.close(fate);
        }
        self.stats.errors = self.errors.iter().map(|(errno, count)| (*errno, *count)).collect();
        fate.check_all_told();
        answer
    }

    fn open_answer(&mut self, request: &Request, fate: &mut impl Fate) -> Answer {
        match request {
            Request::Setup { .. } => Answer::of(self.setup(request, fate)),
            Request::Remove(offset, length) => Answer::of(self.remove(*offset, *length, fate)),
            Request::RemoveBatch(entries) => {
                let mut answer = Answer::default();
                for (index, (offset, length)) in entries.iter().enumerate() {
                    match self.remove(*offset, *length, fate) {
                        0 => answer.removed += 1,
                        errno => answer.failed.push((index, errno)),
                    }
                }
                answer
            }
            Request::Reset => {
                self.sweep(fate);
                Answer::default()
            }
            Request::Drain | Request::Lookup(_) => Answer::default(),
            Request::Read(offset, length) => Answer::of(if self.shows(*offset, *length) { 0 } else { libc::EFAULT }),
            Request::Write(offset, length) => {
                let all_writable =
                    self.live.iter().all(|mapping| mapping.writable || !touches(mapping, *offset, *length));
                Answer::of(match self.shows(*offset, *length) {
                    false => libc::EFAULT,
                    true if all_writable => 0,
                    true => libc::EACCES,
                })
            }
        }
    }

    fn setup(&mut self, request: &Request, fate: &mut impl Fate) -> i32 {
        let &Request::Setup { file, file_offset, offset, length, writable } = request else { unreachable!() };
        if [file_offset, offset, length].iter().any(|value| value % self.page != 0) || length == 0 {
            return libc::EINVAL;
        }
        let Some(span) = Span::new(WindowOffset(offset), length).filter(|span| span.end().0 <= self.size) else {
            return libc::EINVAL;
        };
        if file_offset.checked_add(length).is_none_or(|end| end > i64::MAX.unsigned_abs()) {
            return libc::EINVAL;
        }
        if writable && self.readonly {
            return libc::EROFS;
        }
        let wanted = Mapping { span, file_offset: FileOffset(file_offset), file: self.files[file], writable };
        let before = Mapping { writable: false, ..wanted };
        let in_the_way = self.live.iter().position(|mapping| mapping.span.overlaps(span));
        match in_the_way {
            Some(index) if writable && self.live[index] == before => self.upgrade(index, fate),
            Some(_) => libc::EEXIST,
            None if self.live.len() as u64 >= self.max_mappings => libc::ENOSPC,
            None => match fate.of(Kind::Map, &wanted) {
                Verdict::Done => {
                    self.live.push(wanted);
                    self.stats.setup_count += 1;
                    self.stats.setup_bytes += length;
                    self.stats.peak_mappings = self.stats.peak_mappings.max(self.live.len() as u64);
                    0
                }
                Verdict::Refused(errno) | Verdict::Emptied(errno) => errno,
                Verdict::GaveUp => libc::EIO,
            },
        }
    }

    fn upgrade(&mut self, index: usize, fate: &mut impl Fate) -> i32 {
        let upgraded = Mapping { writable: true, ..self.live[index] };
        match fate.of(Kind::Upgrade, &upgraded) {
            Verdict::Done => {
                self.live[index] = upgraded;
                self.stats.upgrade_count += 1;
                0
            }
            Verdict::Refused(errno) => errno,
            Verdict::Emptied(_) | Verdict::GaveUp => {
                self.live.remove(index);
                self.stats.lost_count += 1;
                libc::EIO
            }
        }
    }

    fn remove(&mut self, offset: u64, length: u64, fate: &mut impl Fate) -> i32 {
        let Some(index) = self.live.iter().position(|mapping| mapping.span.start().0 == offset) else {
            return libc::ENOENT;
        };
        if self.live[index].span.length() != length {
            return libc::EINVAL;
        }
        match fate.of(Kind::Unmap, &self.live[index]) {
            Verdict::Done | Verdict::Emptied(_) => {
                self.live.remove(index);
                self.stats.remove_count += 1;
                0
            }
            Verdict::Refused(errno) => errno,
            Verdict::GaveUp => {
                self.live.remove(index);
                self.stats.lost_count += 1;
                libc::EIO
            }
        }
    }

    fn sweep(&mut self, fate: &mut impl Fate) {
        let stats = &mut self.stats;
        self.live.retain(|mapping| match fate.of(Kind::Unmap, mapping) {
            Verdict::Done | Verdict::Emptied(_) => {
                stats.swept_count += 1;
                false
            }
            Verdict::Refused(_) => true,
            Verdict::GaveUp => {
                stats.lost_count += 1;
                false
            }
        });
    }

    fn close(&mut self, fate: &mut impl Fate) {
        self.sweep(fate);
        self.stats.leaked_count += self.live.len() as u64;
        self.live.clear();
        self.closed = true;
    }

    /// Whether mappings show each of these bytes.
    fn shows(&self, offset: u64, length: u64) -> bool {
        let shown: u64 = self.live.iter().map(|mapping| overlap(mapping, offset, length)).sum();
        shown == length
    }

    /// Checks all that the mapper says of itself.
    pub(crate) fn agrees_with(&self, mapper: &Mapper) {
        let mut live = self.live.clone();
        live.sort_by_key(|mapping| mapping.span.start());
        assert_eq!(mapper.mappings().unwrap(), live);
        for mapping in &live {
            for offset in [mapping.span.start().0, mapping.span.end().0 - 1] {
                assert_eq!(mapper.lookup(WindowOffset(offset)).unwrap(), Some(*mapping));
            }
        }
        let stats = mapper.stats();
        let departed = stats.remove_count + stats.swept_count + stats.leaked_count + stats.lost_count;
        assert_eq!(stats.setup_count, departed + stats.live_mappings);
        let live_bytes = live.iter().map(|mapping| mapping.span.length()).sum();
        assert_eq!(stats, Stats { live_mappings: live.len() as u64, live_bytes, ..self.stats.clone() });
        assert_eq!(mapper.is_closed(), self.closed);
    }
}

fn closed_answer(request: &Request) -> Answer {
    Answer::of(if matches!(request, Request::Drain | Request::Lookup(_)) { 0 } else { libc::ENODEV })
}

fn overlap(mapping: &Mapping, offset: u64, length: u64) -> u64 {
    let (start, end) = (mapping.span.start().0.max(offset), mapping.span.end().0.min(offset.saturating_add(length)));
    end.saturating_sub(start)
}

fn touches(mapping: &Mapping, offset: u64, length: u64) -> bool {
    overlap(mapping, offset, length) > 0
}
