//! System calls that fail when they are told to: this crate's `mmap`, `munmap`, `fstat` and `pwritev2` take the place of libc's
//! in whatever it is linked into. Only calls of the thread that armed them fail.
//!
//! What goes straight to the kernel, as all of rustix does, does not pass here.

use libc::{c_int, c_void, off_t};
use std::cell::Cell;

/// How many calls of `mmap` a plan is for.
pub(crate) const PLANNED: usize = 6;

/// What comes of an `mmap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) errno: c_int,
    /// With `MAP_FIXED`: it fails when what was there is gone already, as the kernel may.
    pub(crate) leaves_gap: bool,
}

/// What comes of the next calls; those after that succeed. Of all but `mmap` it is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) maps: [Option<Failure>; PLANNED],
    pub(crate) unmap: Option<c_int>,
    pub(crate) stat: Option<c_int>,
    pub(crate) write: Option<c_int>,
}

/// How many calls did fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) maps: u64,
    /// Of these, those that left a gap.
    pub(crate) gaps: u64,
    pub(crate) unmaps: u64,
    pub(crate) stats: u64,
    pub(crate) writes: u64,
}

/// Without destructors: these may be called while a thread ends.
struct State {
    plan: Cell<Plan>,
    failed: Cell<Failed>,
}

const NOTHING: Plan = Plan { maps: [None; PLANNED], unmap: None, stat: None, write: None };
const NONE: Failed = Failed { maps: 0, gaps: 0, unmaps: 0, stats: 0, writes: 0 };

thread_local! {
    static STATE: State = const { State { plan: Cell::new(NOTHING), failed: Cell::new(NONE) } };
}

/// Makes `call`, with calls that fail as `plan` says; what is left of the plan, and what failed.
pub(crate) fn with<T>(plan: Plan, call: impl FnOnce() -> T) -> (T, Plan, Failed) {
    STATE.with(|state| state.plan.set(plan));
    let answer = call();
    STATE.with(|state| (answer, state.plan.take(), state.failed.take()))
}

/// Takes something out of the plan, and counts it if it is a failure.
fn next<T>(take: impl FnOnce(&mut Plan) -> Option<T>, count: impl FnOnce(&mut Failed, &T)) -> Option<T> {
    STATE.with(|state| {
        let mut plan = state.plan.get();
        let failure = take(&mut plan);
        state.plan.set(plan);
        let failure = failure?;
        let mut failed = state.failed.get();
        count(&mut failed, &failure);
        state.failed.set(failed);
        Some(failure)
    })
}

fn fail(errno: c_int) {
    // SAFETY: no argument, and a pointer to this thread's own errno.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: it is this thread's own errno.
    unsafe { *place = errno };
}

/// `mmap(2)`. Only what shows a file, or replaces what is shown, is made to fail: the rest is the allocator's and threads'.
#[unsafe(no_mangle)]
extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: off_t,
) -> *mut c_void {
    let is_fixed = flags & libc::MAP_FIXED != 0;
    let concerns_a_window = is_fixed || fd >= 0 || flags & libc::MAP_FIXED_NOREPLACE != 0;
    let take = |plan: &mut Plan| {
        let first = plan.maps[0].take();
        plan.maps.rotate_left(1);
        first.map(|failure| Failure { leaves_gap: failure.leaves_gap && is_fixed, ..failure })
    };
    let count = |failed: &mut Failed, failure: &Failure| {
        failed.maps += 1;
        failed.gaps += u64::from(failure.leaves_gap);
    };
    if concerns_a_window && let Some(failure) = next(take, count) {
        if failure.leaves_gap {
            // SAFETY: MAP_FIXED is given, so the caller wants what is there replaced.
            unsafe { libc::syscall(libc::SYS_munmap, address, length) };
        }
        fail(failure.errno);
        return libc::MAP_FAILED;
    }
    // SAFETY: the caller's arguments, as they are, to the call that they are for.
    unsafe { libc::syscall(libc::SYS_mmap, address, length, protection, flags, fd, offset) as *mut c_void }
}

/// `munmap(2)`.
#[unsafe(no_mangle)]
extern "C" fn munmap(address: *mut c_void, length: usize) -> c_int {
    if let Some(errno) = next(|plan| plan.unmap.take(), |failed, _| failed.unmaps += 1) {
        fail(errno);
        return -1;
    }
    // SAFETY: the caller's arguments, as they are, to the call that they are for.
    unsafe { answer(libc::syscall(libc::SYS_munmap, address, length)) }
}

/// `fstat(2)`.
#[unsafe(no_mangle)]
extern "C" fn fstat(fd: c_int, into: *mut libc::stat) -> c_int {
    if let Some(errno) = next(|plan| plan.stat.take(), |failed, _| failed.stats += 1) {
        fail(errno);
        return -1;
    }
    // SAFETY: the caller's arguments, as they are, to a call that does the same for a descriptor.
    unsafe { answer(libc::syscall(libc::SYS_newfstatat, fd, c"".as_ptr(), into, libc::AT_EMPTY_PATH)) }
}

/// `pwritev2(2)`.
#[unsafe(no_mangle)]
extern "C" fn pwritev2(fd: c_int, from: *const libc::iovec, count: c_int, offset: off_t, flags: c_int) -> isize {
    if let Some(errno) = next(|plan| plan.write.take(), |failed, _| failed.writes += 1) {
        fail(errno);
        return -1;
    }
    // SAFETY: the caller's arguments, as they are; the kernel takes the offset in two halves, of which the upper one is not
    // used where a register has 64 bits.
    let written = unsafe { libc::syscall(libc::SYS_pwritev2, fd, from, count, offset, 0, flags) };
    isize::try_from(written).unwrap_or(-1) // no buffer is that long
}

fn answer(answer: libc::c_long) -> c_int {
    if answer == 0 { 0 } else { -1 }
}
