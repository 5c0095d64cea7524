//! What is to be told to the person who runs the service: a line each, and a descriptor to wait on.

use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// The most lines that wait to be read: a front end must not fill our memory.
const MOST: usize = 100;

/// Lines that wait to be read. A clone is the same queue.
#[derive(Clone, Debug)]
pub struct Notices(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    lines: Mutex<VecDeque<String>>,
    /// Readable when something has come.
    event: OwnedFd,
}

impl Notices {
    /// None, so far.
    ///
    /// # Errors
    /// EMFILE and the like.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Queue { lines: Mutex::default(), event })))
    }

    /// Adds a line.
    pub fn tell(&self, line: String) {
        {
            let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= MOST {
                lines.pop_front();
            }
            lines.push_back(line);
        }
        self.wake();
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes()); // full is readable, too
    }

    /// The lines that have come, and no event.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        let _ = rustix::io::read(&self.0.event, &mut [0; 8]); // there may have been none
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_readable(notices: &Notices) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(notices, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn the_last_hundred_lines_wait_and_the_descriptor_says_so() {
        let notices = Notices::new().unwrap();
        assert!(!is_readable(&notices));
        for line in 0..=MOST {
            notices.clone().tell(line.to_string());
        }
        assert!(is_readable(&notices));
        let expected: Vec<String> = (1..=MOST).map(|line| line.to_string()).collect();
        assert_eq!(notices.take(), expected);
        assert!(!is_readable(&notices) && notices.take().is_empty());
        notices.wake();
        assert!(is_readable(&notices));
    }
}
