//! Requests made up at random.

use crate::naive::Naive;
use crate::requests::{Range, Request};
use daxmap_core::FileId;
use proptest::prelude::*;
use proptest::sample::{Index, select};

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
                    file: descriptor_of(naive, mapping.file, by),
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

/// One of the descriptors of a file.
fn descriptor_of(naive: &Naive, file: FileId, which: Index) -> usize {
    let of_file: Vec<_> = (0..naive.files.len()).filter(|index| naive.files[*index].0 == file).collect();
    *which.get(&of_file)
}
