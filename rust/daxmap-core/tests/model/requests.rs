//! What a guest may ask for, as values to make up at random, and the answers.

use crate::files::File;
use crate::naive::Naive;
use daxmap_core::{Error, FileOffset, GuestAddress, MapRequest, Mapper, Overlap, WindowOffset, page_size};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Where every window of these tests begins.
pub(crate) const BASE: u64 = 1 << 40;

/// Start and length of a range of the window, in bytes.
pub(crate) type Range = (u64, u64);

/// A call of the mapper.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Setup { file: usize, file_offset: u64, range: Range, writable: bool, replace: bool },
    Remove(Range),
    RemoveBatch(Vec<Range>),
    RemoveRange(Range),
    RemoveRanges(Vec<Range>),
    RemoveAll,
    Refresh(usize),
    Reset,
    Drain,
    Read(Range),
    Write(Range),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 for success.
    pub(crate) errno: i32,
    /// Whether the error says that mappings were lost.
    pub(crate) lost: bool,
    /// Mappings that a batch removed, or that were refreshed.
    pub(crate) count: u64,
    /// Entries of a batch that failed, and their errno.
    pub(crate) failed: Vec<(usize, i32)>,
}

impl Answer {
    pub(crate) fn of(errno: i32) -> Self {
        Self { errno, ..Self::default() }
    }

    fn from(result: Result<(), Error>) -> Self {
        let Err(error) = result else { return Self::default() };
        let lost = matches!(error, Error::Lost { .. } | Error::Unknown { .. } | Error::OutOfControl { .. });
        Self { errno: error.errno().0, lost, ..Self::default() }
    }
}

fn typed(entries: &[Range]) -> Vec<(WindowOffset, u64)> {
    entries.iter().map(|(offset, length)| (WindowOffset(*offset), *length)).collect()
}

impl Request {
    /// Has the mapper do it.
    pub(crate) fn make(&self, mapper: &Mapper, files: &[File]) -> Answer {
        let address = |offset| GuestAddress(BASE.wrapping_add(offset));
        match *self {
            Self::Setup { file, file_offset, range: (offset, length), writable, replace } => {
                let (file_offset, window_offset) = (FileOffset(file_offset), WindowOffset(offset));
                let request = MapRequest { file_offset, window_offset, length, writable };
                let overlap = if replace { Overlap::Replace } else { Overlap::Refuse };
                Answer::from(mapper.setup(files[file].fd(), &request, overlap))
            }
            Self::Remove((offset, length)) => Answer::from(mapper.remove(WindowOffset(offset), length)),
            Self::RemoveBatch(ref entries) => match mapper.remove_batch(&typed(entries)) {
                Err(error) => Answer::from(Err(error)),
                Ok(result) => {
                    let failed = result.failed.iter().map(|(index, error)| (*index, error.errno().0)).collect();
                    Answer { count: result.removed, failed, ..Answer::default() }
                }
            },
            Self::RemoveRange((offset, length)) => Answer::from(mapper.remove_range(WindowOffset(offset), length)),
            Self::RemoveRanges(ref entries) => Answer::from(mapper.remove_ranges(&typed(entries))),
            Self::RemoveAll => Answer::from(mapper.remove_all()),
            Self::Refresh(file) => match mapper.refresh(files[file].fd()) {
                Err(error) => Answer::from(Err(error)),
                Ok(count) => Answer { count, ..Answer::default() },
            },
            Self::Reset => Answer::from(mapper.reset()),
            Self::Drain => Answer::from(mapper.drain_all()),
            Self::Read((offset, length)) => Answer::from(mapper.read(address(offset), length).map(drop)),
            Self::Write((offset, length)) => {
                Answer::from(mapper.write(address(offset), &vec![b'w'; usize::try_from(length).unwrap()]))
            }
        }
    }

    /// The ranges that it asks to be changed, where it names any.
    pub(crate) fn ranges(&self) -> Vec<Range> {
        match self {
            Self::Setup { range, .. } | Self::Remove(range) | Self::RemoveRange(range) => vec![*range],
            Self::RemoveBatch(entries) | Self::RemoveRanges(entries) => entries.clone(),
            Self::RemoveAll | Self::Refresh(_) | Self::Reset | Self::Drain => vec![(0, u64::MAX)],
            Self::Read(_) | Self::Write(_) => vec![],
        }
    }
}

/// Pages in bytes.
pub(crate) fn pages((start, length): Range) -> Range {
    (start * page_size(), length * page_size())
}

/// A setup of the given pages, of the given page of a file. It replaces what lies there.
pub(crate) fn setup(file: usize, file_page: u64, range: Range, writable: bool) -> Request {
    Request::Setup { file, file_offset: file_page * page_size(), range: pages(range), writable, replace: true }
}

/// A request that may speak of what is live when its turn comes.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Make(Request),
    /// The request that made a live mapping, once more: a writable one is an upgrade, or a repeat.
    Again {
        live: Index,
        /// Which of the file's descriptors is used.
        by: Index,
        writable: bool,
        replace: bool,
    },
    /// The removal of a live mapping.
    RemoveLive(Index),
    /// The removal of many: live mappings, and ranges that may be of none.
    RemoveMany(Vec<(bool, Index, Range)>),
}

impl Step {
    pub(crate) fn resolve(self, naive: &Naive) -> Request {
        let live = |index: Index| (!naive.live.is_empty()).then(|| *index.get(&naive.live));
        let entry =
            |index: Index| live(index).map_or((0, 1), |mapping| (mapping.span.start().0, mapping.span.length()));
        match self {
            // Which of many cuts the budget lets through depends on their order, which nobody is promised.
            Self::Make(Request::RemoveRanges(entries)) if naive.is_limited() => Request::RemoveRange(entries[0]),
            Self::Make(request) => request,
            Self::Again { live: index, by, writable, replace } => {
                live(index).map_or(Request::Reset, |mapping| Request::Setup {
                    file: naive.descriptor_of(mapping.file, by),
                    file_offset: mapping.file_offset.0,
                    range: (mapping.span.start().0, mapping.span.length()),
                    writable,
                    replace,
                })
            }
            Self::RemoveLive(index) => Request::Remove(entry(index)),
            Self::RemoveMany(entries) => Request::RemoveBatch(
                entries.into_iter().map(|(is_live, index, other)| if is_live { entry(index) } else { other }).collect(),
            ),
        }
    }
}

/// Steps over the given window offsets and lengths.
pub(crate) fn steps(offsets: Vec<u64>, lengths: Vec<u64>, files: usize) -> impl Strategy<Value = Step> + Clone {
    let offset = select(offsets);
    let range = (offset.clone(), select(lengths));
    let setup = (0..files, offset, range.clone(), any::<bool>(), prop::bool::weighted(0.7)).prop_map(
        |(file, file_offset, range, writable, replace)| {
            Step::Make(Request::Setup { file, file_offset, range, writable, replace })
        },
    );
    let again = (any::<Index>(), any::<Index>(), any::<bool>(), any::<bool>())
        .prop_map(|(live, by, writable, replace)| Step::Again { live, by, writable, replace });
    let many = prop::collection::vec((prop::bool::weighted(0.7), any::<Index>(), range.clone()), 0..10);
    let ranges = prop::collection::vec(range.clone(), 1..5);
    prop_oneof![
        12 => setup,
        4 => again,
        3 => any::<Index>().prop_map(Step::RemoveLive),
        3 => many.prop_map(Step::RemoveMany),
        5 => range.clone().prop_map(|range| Step::Make(Request::RemoveRange(range))),
        2 => ranges.prop_map(|ranges| Step::Make(Request::RemoveRanges(ranges))),
        2 => (0..files).prop_map(|file| Step::Make(Request::Refresh(file))),
        1 => range.clone().prop_map(|range| Step::Make(Request::Remove(range))),
        1 => range.clone().prop_map(|(offset, length)| Step::Make(Request::Read((offset + 1, length)))),
        1 => range.prop_map(|(offset, length)| Step::Make(Request::Write((offset + 1, length)))),
        1 => prop_oneof![4 => Just(Request::Reset), 4 => Just(Request::RemoveAll), 1 => Just(Request::Drain)]
            .prop_map(Step::Make),
    ]
}
