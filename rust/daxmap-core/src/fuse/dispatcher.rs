//! From a request's bytes to a reply's.

use super::errno::to_linux;
use super::request::{Header, Malformed, Removal, Request, Setup, decode};
use crate::limit::Warnings;
use crate::sys::Errno;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A whole reply: `struct fuse_out_header`, since the replies to DAX requests have no body.
pub type Reply = [u8; REPLY_SIZE as usize];

const REPLY_SIZE: u32 = 16;

/// One past the largest errno that a reply may carry.
const ERRNOS: usize = 134;

/// What stands behind the decoder: whoever opens the files, and the mapper.
pub trait Target {
    /// Why a request gets no reply at all: its dispatcher's own program is being stopped.
    type Interrupt;

    /// Maps a range of a file.
    ///
    /// # Errors
    /// Why not.
    fn setup(&self, wanted: &Setup) -> Result<(), Undone<Self::Interrupt>>;

    /// Removes mappings: every one that can be, whatever becomes of the others.
    ///
    /// # Errors
    /// Why the first that could not be removed could not.
    fn remove(&self, which: &Removal) -> Result<(), Undone<Self::Interrupt>>;

    /// Takes away whatever is mapped: the guest starts anew, or leaves.
    ///
    /// # Errors
    /// That of the program's end; nothing else keeps a guest from starting.
    fn restart(&self) -> Result<(), Self::Interrupt>;
}

/// What became of a request that a target did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone<I> {
    /// The guest is told this, an errno of the host, by its Linux number.
    Errno(Errno),
    /// The guest is told nothing.
    Interrupted(I),
}

/// How SETUPMAPPING requests were answered since the last INIT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that succeeded, upgrades included.
    pub mapped: u64,
    /// The others by Linux errno, rising, without those that never were.
    pub refused: Vec<(i32, u64)>,
}

/// Answers one share's requests. All methods may be called from many threads.
#[derive(Debug)]
pub struct Dispatcher {
    mapped: AtomicU64,
    refused: [AtomicU64; ERRNOS],
    warnings: Warnings,
}

impl Dispatcher {
    /// One that has answered nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { mapped: AtomicU64::new(0), refused: [const { AtomicU64::new(0) }; ERRNOS], warnings: Warnings::new() }
    }

    /// Answers the request whose header is `header` and whose other bytes are `body`. None where the reply is somebody
    /// else's to give: the request is not DAX's, or is INIT or DESTROY, of which `target` is told.
    ///
    /// A request that breaks the format is answered EINVAL, and `target` hears nothing of it.
    ///
    /// # Errors
    /// The target's interrupt.
    pub fn answer<T: Target>(&self, header: &Header, body: &[u8], target: &T) -> Result<Option<Reply>, T::Interrupt> {
        let answer = match decode(header, body) {
            Ok(None) => return Ok(None),
            Ok(Some(Request::Restart { init })) => {
                if init {
                    self.forget();
                }
                return target.restart().map(|()| None);
            }
            Ok(Some(Request::Setup(wanted))) => target.setup(&wanted),
            Ok(Some(Request::Remove(which))) => target.remove(&which),
            Err(Malformed(reason)) => {
                self.warnings.warn(format_args!("malformed request refused: {reason}"));
                Err(Undone::Errno(Errno(libc::EINVAL)))
            }
        };
        let error = match answer {
            Ok(()) => 0,
            Err(Undone::Errno(errno)) => to_linux(errno),
            Err(Undone::Interrupted(interrupt)) => return Err(interrupt),
        };
        if header.is_setup() {
            self.count(error);
        }
        Ok(Some(reply(header.unique(), error)))
    }

    /// How SETUPMAPPING requests were answered since the last INIT.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let refused = (0..).zip(&self.refused).map(|(errno, count)| (errno, count.load(Relaxed)));
        Counts { mapped: self.mapped.load(Relaxed), refused: refused.filter(|(_, count)| *count > 0).collect() }
    }

    /// Logs a warning, unless there were too many: a guest must not fill the VMM's disk.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        self.warnings.warn(text);
    }

    /// The text of a warning that the caller may log itself now; none if there were too many.
    #[must_use]
    pub fn admit(&self, text: fmt::Arguments<'_>) -> Option<String> {
        self.warnings.admit(text)
    }

    fn count(&self, error: i32) {
        let counter = match error {
            0 => Some(&self.mapped),
            errno => usize::try_from(errno).ok().and_then(|index| self.refused.get(index)),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn forget(&self) {
        self.mapped.store(0, Relaxed);
        self.refused.iter().for_each(|count| count.store(0, Relaxed));
    }
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self::new()
    }
}

/// `struct fuse_out_header`, and nothing after it. `error` is a Linux errno, or 0.
fn reply(unique: u64, error: i32) -> Reply {
    let mut reply = Reply::default();
    reply[..4].copy_from_slice(&REPLY_SIZE.to_le_bytes());
    reply[4..8].copy_from_slice(&error.wrapping_neg().to_le_bytes());
    reply[8..].copy_from_slice(&unique.to_le_bytes());
    reply
}
