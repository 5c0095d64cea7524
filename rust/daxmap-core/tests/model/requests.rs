//! What a guest may ask for, as values to make up at random, and the answers.

use crate::files::File;
use crate::naive::Naive;
use daxmap_core::{Error, FileOffset, GuestAddress, MapRequest, Mapper, Overlap, WindowOffset};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Where every window of these tests begins.
pub(crate) const BASE: u64 = 1 << 40;

/// A call of the mapper.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Setup { file: usize, file_offset: u64, offset: u64, length: u64, writable: bool },
    Remove(u64, u64),
    RemoveBatch(Vec<(u64, u64)>),
    Reset,
    Drain,
    Lookup(u64),
    Read(u64, u64),
    Write(u64, u64),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 for success.
    pub(crate) errno: i32,
    pub(crate) removed: u64,
    pub(crate) failed: Vec<(usize, i32)>,
}

impl Answer {
    pub(crate) fn of(errno: i32) -> Self {
        Self { errno, ..Self::default() }
    }
}

impl Request {
    /// Has the mapper do it.
    pub(crate) fn make(&self, mapper: &Mapper, files: &[File]) -> Answer {
        let errno = |result: Result<(), Error>| Answer::of(result.map_or_else(|error| error.errno().0, |()| 0));
        let address = |offset| GuestAddress(BASE.wrapping_add(offset));
        match *self {
            Self::Setup { file, file_offset, offset, length, writable } => {
                let (file_offset, window_offset) = (FileOffset(file_offset), WindowOffset(offset));
                let request = MapRequest { file_offset, window_offset, length, writable };
                errno(mapper.setup(files[file].fd(), &request, Overlap::Refuse))
            }
            Self::Remove(offset, length) => errno(mapper.remove(WindowOffset(offset), length)),
            Self::RemoveBatch(ref entries) => {
                let entries: Vec<_> = entries.iter().map(|(offset, length)| (WindowOffset(*offset), *length)).collect();
                mapper.remove_batch(&entries).map_or_else(
                    |error| Answer::of(error.errno().0),
                    |result| {
                        let failed = result.failed.iter().map(|(index, error)| (*index, error.errno().0)).collect();
                        Answer { errno: 0, removed: result.removed, failed }
                    },
                )
            }
            Self::Reset => errno(mapper.reset()),
            Self::Drain => errno(mapper.drain_all()),
            Self::Lookup(offset) => errno(mapper.lookup(WindowOffset(offset)).map(drop)),
            Self::Read(offset, length) => errno(mapper.read(address(offset), length).map(drop)),
            Self::Write(offset, length) => {
                errno(mapper.write(address(offset), &vec![b'w'; usize::try_from(length).unwrap()]))
            }
        }
    }
}

/// A request that may speak of what is live when its turn comes.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Make(Request),
    /// The request that made a live mapping, once more: a writable one is an upgrade.
    Again(Index, bool),
    /// The removal of a live mapping.
    RemoveLive(Index),
    /// The removal of many: live mappings, and ranges that may be of none.
    RemoveMany(Vec<(bool, Index, (u64, u64))>),
}

impl Step {
    pub(crate) fn resolve(self, naive: &Naive) -> Request {
        let live = |index: Index| (!naive.live.is_empty()).then(|| *index.get(&naive.live));
        let entry =
            |index: Index| live(index).map_or((0, 1), |mapping| (mapping.span.start().0, mapping.span.length()));
        match self {
            Self::Make(request) => request,
            Self::Again(index, writable) => live(index).map_or(Request::Lookup(0), |mapping| Request::Setup {
                file: naive.files.iter().position(|file| *file == mapping.file).unwrap(),
                file_offset: mapping.file_offset.0,
                offset: mapping.span.start().0,
                length: mapping.span.length(),
                writable,
            }),
            Self::RemoveLive(index) => {
                let (offset, length) = entry(index);
                Request::Remove(offset, length)
            }
            Self::RemoveMany(entries) => Request::RemoveBatch(
                entries.into_iter().map(|(is_live, index, other)| if is_live { entry(index) } else { other }).collect(),
            ),
        }
    }
}

/// Steps over the given window offsets and lengths.
pub(crate) fn steps(offsets: Vec<u64>, lengths: Vec<u64>, files: usize) -> impl Strategy<Value = Step> + Clone {
    let offset = select(offsets);
    let length = select(lengths);
    let setup = (0..files, offset.clone(), offset.clone(), length.clone(), any::<bool>()).prop_map(
        |(file, file_offset, offset, length, writable)| {
            Step::Make(Request::Setup { file, file_offset, offset, length, writable })
        },
    );
    let range = (offset, length);
    let many = prop::collection::vec((prop::bool::weighted(0.7), any::<Index>(), range.clone()), 0..10);
    prop_oneof![
        12 => setup,
        4 => (any::<Index>(), any::<bool>()).prop_map(|(index, writable)| Step::Again(index, writable)),
        4 => any::<Index>().prop_map(Step::RemoveLive),
        1 => range.clone().prop_map(|(offset, length)| Step::Make(Request::Remove(offset, length))),
        3 => many.prop_map(Step::RemoveMany),
        1 => Just(Step::Make(Request::Reset)),
        1 => prop_oneof![9 => Just(Request::Reset), 1 => Just(Request::Drain)].prop_map(Step::Make),
        1 => range.clone().prop_map(|(offset, _)| Step::Make(Request::Lookup(offset))),
        1 => range.clone().prop_map(|(offset, length)| Step::Make(Request::Read(offset + 1, length))),
        1 => range.prop_map(|(offset, length)| Step::Make(Request::Write(offset + 1, length))),
    ]
}
