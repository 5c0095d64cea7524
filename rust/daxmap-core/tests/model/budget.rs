//! The process's budget, which these tests share.

use daxmap_core::Budget;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The budget for as long as nobody else charges it.
#[derive(Debug)]
pub(crate) struct Alone {
    before: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Alone {
    pub(crate) fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { before: Budget::of_process().used(), _turn: turn }
    }

    /// What was charged since.
    pub(crate) fn charged(&self) -> u64 {
        Budget::of_process().used() - self.before
    }
}
