//! INIT: whatever the guest has sent, and whatever the device has replied, a Linux guest can take the reply with the DAX part
//! as it could before.

use crate::uapi::{InitOut, Meaning, field, meaning, takes};
use crate::wire::{INIT, message};
use daxmap_core::fuse::{Header, Offer, Policy, Request, Session, decode, negotiate as negotiate_for, verify};
use daxmap_core::page_size;

const MAP_ALIGNMENT: u64 = 1 << 26;
const HAS_INODE_DAX: u64 = 1 << 33;
/// The most that Linux takes for an alignment: `FUSE_DAX_SZ`, 2 MiB, as a power of two.
const MOST_ALIGNMENT: u64 = 21;
/// The fields of a reply that the DAX part may change, in bytes: flags, `map_alignment` and flags2.
const CHANGED: [std::ops::Range<usize>; 2] = [28..32, 46..52];

/// The first byte tells how long the body of the INIT is that follows; the rest is the device's reply.
pub fn negotiate(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (body, reply) = rest.split_at(usize::from(*length).min(rest.len()));
    check_verify(reply);
    let request = message(INIT, 0, body);
    let Some(Meaning::Init { major, flags }) = meaning(&request) else { return };
    let (header, body) = Header::parse(&request).unwrap();
    let Ok(Request::Init(init)) = decode(&header, body) else { panic!("an INIT of {} bytes is none", body.len()) };
    for page in [4 << 10, 16 << 10, 64 << 10] {
        let mut told = reply.to_vec();
        let offer = negotiate_for(&init, page, &mut told);
        assert_eq!(offer, expected(major, flags, reply));
        check_reply(flags, page, offer, reply, &told);
    }
    let session = Session::new(Policy::Always);
    let (mut by_session, mut told) = (reply.to_vec(), reply.to_vec());
    session.negotiate(&init, &mut by_session);
    assert_eq!(session.offer(), negotiate_for(&init, page_size(), &mut told));
    assert_eq!(by_session, told);
}

/// What is offered to a guest with these flags.
fn expected(major: u64, flags: u64, reply: &[u8]) -> Option<Offer> {
    let body = reply.len().checked_sub(16)?;
    if field(reply, 4, 4) != Some(0) || major != 7 {
        return None;
    }
    Some(match () {
        () if flags & MAP_ALIGNMENT == 0 => Offer::NotWanted,
        () if body < 32 => Offer::TooShort { body },
        () => Offer::Made,
    })
}

fn check_reply(offered: u64, page: u64, offer: Option<Offer>, before: &[u8], after: &[u8]) {
    if offer != Some(Offer::Made) {
        assert_eq!(after, before);
        return;
    }
    assert_eq!(after.len(), before.len());
    for at in (0..before.len()).filter(|at| !CHANGED.iter().any(|field| field.contains(at))) {
        assert_eq!(after[at], before[at], "byte {at}");
    }
    let (old, new) = (InitOut::of(before), InitOut::of(after));
    assert_eq!(new.flags & old.flags, old.flags, "what the device has taken is lost");
    assert_eq!(new.flags & !old.flags & !offered, 0, "what the guest has not offered is taken");
    assert_ne!(new.flags & MAP_ALIGNMENT, 0);
    assert_eq!(1 << new.map_alignment, page);
    assert!(new.map_alignment <= MOST_ALIGNMENT);
    let has_room = before.len() >= 16 + 36;
    assert_eq!(
        new.flags & HAS_INODE_DAX != 0,
        old.flags & HAS_INODE_DAX != 0 || (offered & HAS_INODE_DAX != 0 && has_room)
    );
}

/// The rules for replies are Linux's.
fn check_verify(reply: &[u8]) {
    for unique in [7, field(reply, 8, 8).unwrap_or(0)] {
        assert_eq!(verify(unique, reply).is_ok(), takes(unique, reply));
    }
}
