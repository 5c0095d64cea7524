//! The way back to the front end, on which it is told to change the window.

use super::abilities::Abilities;
use crate::activity::Activity;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vhost::vhost_user::message::{VhostUserMMap, VhostUserMMapFlags, VhostUserSharedMsg};
use vhost::vhost_user::{Backend, Error, VhostUserFrontendReqHandler};
use vm_memory::ByteValued;

/// A range of the window, and what it is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) window_offset: u64,
    pub(crate) file_offset: u64,
    pub(crate) length: u64,
    pub(crate) writable: bool,
}

/// Why a call did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The front end said no.
    Refused,
    /// There is no front end any more, and so no window.
    Gone,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the front end refuses",
            Self::Gone => "the front end is gone",
        })
    }
}

#[derive(Default)]
struct State {
    backend: Option<Backend>,
    abilities: Option<Result<Abilities, String>>,
}

/// The channel to one front end after another. A clone is the same channel.
#[derive(Clone, Default)]
pub struct Channel {
    state: Arc<Mutex<State>>,
    activity: Arc<Activity>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Channel").field("open", &state.backend.is_some()).field("abilities", &state.abilities).finish()
    }
}

impl Channel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of the device's queues are at work.
    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Takes the channel of a new front end, of which nothing is known yet.
    pub fn open(&self, backend: Backend) {
        *self.state() = State { backend: Some(backend), abilities: None };
    }

    /// Lets go of the front end: it is gone.
    pub fn close(&self) {
        *self.state() = State::default();
    }

    /// What was found out about the front end; or why there is no DAX with it. `None` before that.
    #[must_use]
    pub fn abilities(&self) -> Option<Result<Abilities, String>> {
        self.state().abilities.clone()
    }

    /// Notes what was found out.
    pub fn found(&self, abilities: Result<Abilities, String>) {
        self.state().abilities = Some(abilities);
    }

    pub(crate) fn map(&self, range: &Range, file: impl AsFd) -> Result<(), Failed> {
        let message = message(range);
        self.call(|backend| {
            let answer = backend.shmem_map(&message, &file.as_fd().as_raw_fd())?;
            wait_until_done(backend)?;
            Ok(answer)
        })
    }

    pub(crate) fn unmap(&self, window_offset: u64, length: u64) -> Result<(), Failed> {
        let message = message(&Range { window_offset, file_offset: 0, length, writable: false });
        self.call(|backend| backend.shmem_unmap(&message))
    }

    /// Makes one call, with no lock held: the front end may need our other thread before it answers.
    fn call(&self, call: impl FnOnce(&Backend) -> io::Result<u64>) -> Result<(), Failed> {
        let backend = self.state().backend.clone().ok_or(Failed::Gone)?;
        let answer = {
            let _waiting = self.activity.wait_for_front_end();
            call(&backend)
        };
        let Err(error) = answer else { return Ok(()) };
        if matches!(of_protocol(&error), Some(Error::FrontendInternalError)) {
            return Err(Failed::Refused);
        }
        // No answer, or half of one: nothing that comes later can be told from it.
        log::debug!(target: daxmap_core::LOG_TARGET, "the channel to the front end is closed: {error}");
        let mut state = self.state();
        state.backend = None;
        Err(Failed::Gone)
    }
}

/// The UUID of an object that nobody has.
const NO_OBJECT: u128 = 0x8c17_5a0e_93d4_4b62_a1f5_d0c6_7e2b_3948;

/// Waits until the front end has done what it has answered.
///
/// QEMU answers `SHMEM_MAP` first, and changes the guest's memory then, since that takes answers of ours. A guest that hears
/// of its mapping between the two finds zeros. But QEMU does one call after the other: so we make one that it refuses without
/// a word on its stderr. Where no such call may be made (protocol feature `SHARED_OBJECT`), the answer is all there is.
fn wait_until_done(backend: &Backend) -> io::Result<()> {
    let mut object = VhostUserSharedMsg::default();
    object.as_mut_slice().copy_from_slice(&NO_OBJECT.to_be_bytes());
    match backend.shared_object_remove(&object) {
        Err(error) if !matches!(of_protocol(&error), None | Some(Error::FrontendInternalError)) => Err(error),
        _ => Ok(()),
    }
}

/// The error of a call that was made: none if it may not be made.
fn of_protocol(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn message(range: &Range) -> VhostUserMMap {
    let flags = if range.writable { VhostUserMMapFlags::WRITABLE } else { VhostUserMMapFlags::empty() };
    VhostUserMMap {
        shmid: 0,
        padding: [0; 7],
        fd_offset: range.file_offset,
        shm_offset: range.window_offset,
        len: range.length,
        flags: flags.bits(),
    }
}
