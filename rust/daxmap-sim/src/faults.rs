//! Which calls fail in a step.

use crate::model::guest::Fault;
use crate::rng::Rng;
use crate::sys::failing::{Failure, PLANNED, Plan};

/// What an `mmap` may say. Those that a guest must not be told are among them, and so is one that only drivers say (524,
/// ENOTSUPP, of include/linux/errno.h).
const OF_MMAP: [i32; 10] = [
    libc::EAGAIN,
    libc::EAGAIN,
    libc::EINTR,
    libc::ENOMEM,
    libc::ENOMEM,
    libc::EPERM,
    libc::EACCES,
    libc::ENODEV,
    libc::ENFILE,
    524,
];
const OF_WRITE: [i32; 3] = [libc::ENOSPC, libc::EDQUOT, libc::EIO];
const OF_STAT: [i32; 3] = [libc::EIO, libc::ENOMEM, libc::ESTALE];

/// System calls that fail.
pub(crate) fn of_system_calls(rng: &mut Rng) -> Plan {
    let mut plan = Plan::default();
    let (one_in, calls) = (rng.pick(&[1, 2, 4]), 1 + rng.index(PLANNED));
    for slot in plan.maps.iter_mut().take(calls) {
        let failure = Failure { errno: rng.pick(&OF_MMAP), leaves_gap: rng.one_in(3) };
        *slot = rng.one_in(one_in).then_some(failure);
    }
    plan.unmap = rng.one_in(4).then_some(libc::ENOMEM); // the VMA would have to be divided
    plan.stat = rng.one_in(8).then(|| rng.pick(&OF_STAT));
    plan.write = rng.one_in(2).then(|| rng.pick(&OF_WRITE));
    plan
}

/// Calls of a hypervisor that fail.
pub(crate) fn of_hypervisor(rng: &mut Rng) -> Vec<Fault> {
    let all = [(4, Fault::None), (2, Fault::Refused), (1, Fault::InDoubtUndone), (1, Fault::InDoubtDone)];
    (0..=rng.below(7)).map(|_| rng.weighted(&all)).collect()
}
