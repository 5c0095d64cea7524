//! What is to be freed, and waits until nobody holds a part of it any more.

use crate::backend::Hold;
use crate::sync::{Mutex, PoisonError};
use std::sync::Arc;

/// Shared by an owner and by all that hold a part of what it owns.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// What the owner has left behind: dropped with the last holder.
    left: Mutex<Option<Hold>>,
}

impl Holders {
    /// Holds a part, until it is dropped.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        Box::new(Arc::clone(self))
    }

    /// Leaves something behind, to be dropped with the last holder; or gives it back where there is none.
    pub(super) fn leave<T: Into<Hold>>(self: Arc<Self>, what: T) -> Option<T> {
        match Arc::try_unwrap(self) {
            Ok(_) => Some(what),
            Err(shared) => {
                // Should the last holder go meanwhile, this is the last.
                *shared.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.into());
                None
            }
        }
    }
}
