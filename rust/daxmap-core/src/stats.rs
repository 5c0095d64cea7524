//! Counters that anyone may read at any time, without a lock.

use crate::book::Cut;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sys::Errno;

/// A mapper's counters, as they were when they were read.
///
/// When no call is under way, `setup_count + split_count = remove_count + replaced_count + swept_count + leaked_count +
/// lost_count + live_mappings`.
///
/// # Examples
/// ```
/// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
/// # use {daxmap_core::*, doc::*};
/// # let (mapper, file) = (mapper()?, file()?);
/// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
/// mapper.setup(fd, &request(0, page), Overlap::Refuse)?;
/// assert!(mapper.setup(fd, &request(0, page), Overlap::Refuse).is_err());
/// let stats = mapper.stats();
/// assert_eq!((stats.setup_count, stats.live_bytes), (1, page));
/// assert_eq!(stats.errors, [(17, 1)]); // EEXIST, once
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Mappings set up. An upgrade is not one.
    pub setup_count: u64,
    /// Bytes of the mappings set up.
    pub setup_bytes: u64,
    /// Mappings that left the book by any removal: one by one, in a batch, by a range.
    pub remove_count: u64,
    /// Read-only mappings made writable in place.
    pub upgrade_count: u64,
    /// Mappings that left the book because a new mapping took all of their range.
    pub replaced_count: u64,
    /// Mappings that there are more because one was cut in the middle.
    pub split_count: u64,
    /// Mappings taken away by reset and drain.
    pub swept_count: u64,
    /// Mappings that the guest would not give up at drain: their host memory stays for the life of the process.
    pub leaked_count: u64,
    /// Mappings that the guest lost by a change that failed, or of which it is unknown whether it did.
    pub lost_count: u64,
    /// Mappings that are live.
    pub live_mappings: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// The most mappings that were ever live at once.
    pub peak_mappings: u64,
    /// Failures by errno, rising, without those that never happened.
    pub errors: Vec<(i32, u64)>,
}

/// The counters themselves. Written under the mapper's lock, `errors` apart, and so by one thread at a time: a load and a
/// store do, where an atomic addition would lock the bus. Relaxed, since nothing else is ordered by them.
#[derive(Debug)]
pub(crate) struct Counters {
    setup_count: AtomicU64,
    setup_bytes: AtomicU64,
    remove_count: AtomicU64,
    upgrade_count: AtomicU64,
    replaced_count: AtomicU64,
    split_count: AtomicU64,
    swept_count: AtomicU64,
    leaked_count: AtomicU64,
    lost_count: AtomicU64,
    live_mappings: AtomicU64,
    live_bytes: AtomicU64,
    peak_mappings: AtomicU64,
    errors: ErrnoCounts,
}

/// How a mapping left the book.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Departure {
    Removed,
    Replaced,
    Swept,
    Leaked,
    Lost,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            setup_count: AtomicU64::new(0),
            setup_bytes: AtomicU64::new(0),
            remove_count: AtomicU64::new(0),
            upgrade_count: AtomicU64::new(0),
            replaced_count: AtomicU64::new(0),
            split_count: AtomicU64::new(0),
            swept_count: AtomicU64::new(0),
            leaked_count: AtomicU64::new(0),
            lost_count: AtomicU64::new(0),
            live_mappings: AtomicU64::new(0),
            live_bytes: AtomicU64::new(0),
            peak_mappings: AtomicU64::new(0),
            errors: ErrnoCounts::new(),
        }
    }

    pub(crate) fn set_up(&self, bytes: u64) {
        add(&self.setup_count, 1);
        add(&self.setup_bytes, bytes);
        add(&self.live_bytes, bytes);
        self.live(add(&self.live_mappings, 1));
    }

    /// Counts a mapping that was never live, but that the guest may see: as set up, and as lost.
    pub(crate) fn lost_at_once(&self, bytes: u64) {
        add(&self.setup_count, 1);
        add(&self.setup_bytes, bytes);
        add(&self.lost_count, 1);
    }

    pub(crate) fn upgraded(&self) {
        add(&self.upgrade_count, 1);
    }

    pub(crate) fn departed(&self, how: Departure, mappings: u64, bytes: u64) {
        let counter = match how {
            Departure::Removed => &self.remove_count,
            Departure::Replaced => &self.replaced_count,
            Departure::Swept => &self.swept_count,
            Departure::Leaked => &self.leaked_count,
            Departure::Lost => &self.lost_count,
        };
        add(counter, mappings);
        subtract(&self.live_mappings, mappings);
        subtract(&self.live_bytes, bytes);
    }

    /// Counts what a cut took out of the book.
    pub(crate) fn cut(&self, how: Departure, cut: Cut) {
        add(&self.split_count, cut.split);
        let live = add(&self.live_mappings, cut.split);
        self.departed(how, cut.gone, cut.bytes);
        self.live(live.saturating_sub(cut.gone));
    }

    fn live(&self, mappings: u64) {
        self.peak_mappings.store(self.peak_mappings.load(Relaxed).max(mappings), Relaxed);
    }

    pub(crate) fn failed(&self, errno: Errno) {
        self.errors.count(errno.0);
    }

    pub(crate) fn live_mappings(&self) -> u64 {
        self.live_mappings.load(Relaxed)
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            setup_count: self.setup_count.load(Relaxed),
            setup_bytes: self.setup_bytes.load(Relaxed),
            remove_count: self.remove_count.load(Relaxed),
            upgrade_count: self.upgrade_count.load(Relaxed),
            replaced_count: self.replaced_count.load(Relaxed),
            split_count: self.split_count.load(Relaxed),
            swept_count: self.swept_count.load(Relaxed),
            leaked_count: self.leaked_count.load(Relaxed),
            lost_count: self.lost_count.load(Relaxed),
            live_mappings: self.live_mappings(),
            live_bytes: self.live_bytes.load(Relaxed),
            peak_mappings: self.peak_mappings.load(Relaxed),
            errors: self.errors.nonzero(),
        }
    }
}

/// Adds to a counter of which the caller is the only writer, and gives the sum.
fn add(counter: &AtomicU64, more: u64) -> u64 {
    let sum = counter.load(Relaxed).wrapping_add(more);
    counter.store(sum, Relaxed);
    sum
}

/// Subtracts from a counter of which the caller is the only writer.
fn subtract(counter: &AtomicU64, fewer: u64) {
    counter.store(counter.load(Relaxed).wrapping_sub(fewer), Relaxed);
}

/// How often each errno came up. Written and read by any thread, without a lock.
#[derive(Debug)]
pub(crate) struct ErrnoCounts([AtomicU64; ERRNO_COUNTS]);

/// One past the largest errno that has a count of its own: Linux keeps the numbers from there on for itself.
const ERRNO_COUNTS: usize = 512;

impl ErrnoCounts {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; ERRNO_COUNTS])
    }

    /// Counts one. What is no errno counts as EIO.
    pub(crate) fn count(&self, errno: i32) {
        let index = usize::try_from(errno).ok().filter(|index| (1..ERRNO_COUNTS).contains(index));
        if let Some(count) = self.0.get(index.unwrap_or(libc::EIO.unsigned_abs() as usize)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The counts by errno, rising, without those that are 0.
    pub(crate) fn nonzero(&self) -> Vec<(i32, u64)> {
        let counts = (0..).zip(&self.0).map(|(errno, count)| (errno, count.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|count| count.store(0, Relaxed));
    }
}

impl Default for ErrnoCounts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_departure_balances_the_book() {
        let counters = Counters::new();
        (0..6).for_each(|_| counters.set_up(8));
        counters.cut(Departure::Replaced, Cut { gone: 1, split: 2, bytes: 12 });
        for how in [Departure::Removed, Departure::Swept, Departure::Leaked, Departure::Lost] {
            counters.departed(how, 1, 4);
        }
        let s = counters.snapshot();
        assert_eq!((s.setup_count, s.setup_bytes, s.live_mappings, s.live_bytes, s.peak_mappings), (6, 48, 3, 20, 7));
        let departed = s.remove_count + s.replaced_count + s.swept_count + s.leaked_count + s.lost_count;
        assert_eq!(s.setup_count + s.split_count, departed + s.live_mappings);
    }

    #[test]
    fn errors_are_listed_by_errno() {
        let counters = Counters::new();
        for errno in [libc::EINVAL, libc::ENOENT, libc::EINVAL, -1, 99_999] {
            counters.failed(Errno(errno));
        }
        assert_eq!(counters.snapshot().errors, [(libc::ENOENT, 1), (libc::EIO, 2), (libc::EINVAL, 2)]);
    }

    #[test]
    fn errnos_are_counted_each_and_others_as_eio() {
        let counts = ErrnoCounts::new();
        for errno in [1, 511, 511, 0, 512, -5, i32::MIN] {
            counts.count(errno);
        }
        assert_eq!(counts.nonzero(), [(1, 1), (libc::EIO, 4), (511, 2)]);
        counts.clear();
        assert_eq!(counts.nonzero(), []);
    }
}
