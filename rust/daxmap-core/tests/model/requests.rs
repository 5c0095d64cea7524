//! What a guest may ask for, and the answers.

use super::files::File;
use daxmap_core::{Error, FileOffset, GuestAddress, MapRequest, Mapper, Overlap, WindowOffset, page_size};

/// Where every window of these tests begins.
pub(crate) const BASE: u64 = 1 << 36;

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
