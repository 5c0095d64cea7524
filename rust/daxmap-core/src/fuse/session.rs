//! What a share has with its guest, from one INIT to the next: what was offered, and how the guest fares.

use super::errno::GuestErrno;
use super::init::{Init, Offer, negotiate};
use super::outcomes::Outcomes;
use super::policy::Policy;
use super::reply::{Reply, reply};
use super::request::{Header, Malformed};
use crate::records::Warnings;
use crate::sync::{Mutex, PoisonError};
use crate::sys::{Errno, page_size};

/// What a share has with its guest. From any thread.
///
/// # Examples
/// ```
/// use daxmap_core::Errno;
/// use daxmap_core::fuse::{Header, Policy, Session, verify};
///
/// let session = Session::new(Policy::Always);
/// let mut message = [0; 80];
/// (message[0], message[4], message[8]) = (80, 48, 7); // len, opcode: SETUPMAPPING, unique
/// let (header, _body) = Header::parse(&message).unwrap();
/// let reply = session.reply(&header, Err(Errno(2))); // ENOENT
/// assert!(verify(7, &reply).is_ok());
/// assert_eq!(session.outcomes().refused(), [(2, 1)]);
/// ```
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    outcomes: Outcomes,
    /// What the last INIT came to that was negotiated.
    offer: Mutex<Option<Offer>>,
    warnings: Warnings,
}

impl Session {
    /// Before the first INIT.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, outcomes: Outcomes::default(), offer: Mutex::default(), warnings: Warnings::new() }
    }

    /// Which files the guest is to map.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// A log of what the guest does wrong, or has done wrong to it, that it can't make grow without end.
    #[must_use]
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// The guest starts: what it did before counts no more.
    pub fn restart(&self) {
        self.outcomes.clear();
    }

    /// Puts the DAX part into a reply to `init`: see [`negotiate`].
    pub fn negotiate(&self, init: &Init, reply: &mut [u8]) {
        if let Some(offer) = negotiate(init, page_size(), reply) {
            self.offer.lock().unwrap_or_else(PoisonError::into_inner).replace(offer);
        }
    }

    /// Logs that a request breaks the format; what the guest gets for it.
    pub fn malformed(&self, malformed: Malformed) -> Errno {
        self.warnings.warn(format_args!("malformed request refused: {malformed}"));
        Errno(libc::EINVAL)
    }

    /// The reply to a request without a body: done, or an errno of this host. Counts it, if it is a SETUPMAPPING.
    pub fn reply(&self, header: &Header, done: Result<(), Errno>) -> Reply {
        let told = done.map_err(|errno| self.told(header, errno));
        if header.is_setup() {
            self.outcomes.count(told);
        }
        reply(header.unique(), told)
    }

    /// What the guest is told of an errno, which the log has.
    fn told(&self, header: &Header, errno: Errno) -> GuestErrno {
        let told = header.guest_errno(errno);
        if told.number() != errno.0 {
            self.warnings.warn(format_args!("the guest is told {told} in place of errno {}", errno.0));
        }
        told
    }

    /// What the last INIT came to; none before one was negotiated.
    #[must_use]
    pub fn offer(&self) -> Option<Offer> {
        *self.offer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How its SETUPMAPPING requests ended.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }
}
