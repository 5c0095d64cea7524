//! What threads share is made of std's locks and atomics, or, when schedules are explored (`make schedules`), of shuttle's,
//! which look the same and let shuttle choose who runs next. What belongs to the whole process, in [`sys`](crate::sys) and
//! in statics, is std's always.

#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, atomic},
    thread_local,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, atomic},
    thread_local,
};
