//! Any bytes a guest may send, against the rules of the wire written down a second time.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use daxmap_core::fuse::{
    Header, Init, LONGEST_BODY, Malformed, Offer, Outcomes, Policy, Request, decode, negotiate, reply, verify,
};
use daxmap_core::{Errno, FileOffset, MapRequest, WindowOffset};
use proptest::prelude::*;

const INIT: u32 = 26;
const DESTROY: u32 = 38;
const SETUP: u32 = 48;
const REMOVE: u32 = 49;
const NOTHING: u64 = u64::MAX;

/// What a message is decoded to; none if it has no header.
fn decoded(message: &[u8]) -> Option<Result<Request, Malformed>> {
    Header::parse(message).map(|(header, body)| decode(&header, body))
}

/// The header of a request without a body.
fn header(opcode: u32) -> Header {
    Header::parse(&message(opcode, 7, 2, &[])).unwrap().0
}

fn message(opcode: u32, unique: u64, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    let mut message = [length.to_le_bytes(), opcode.to_le_bytes()].concat();
    message.extend([unique, nodeid, 0, 0].map(u64::to_le_bytes).concat());
    message.extend(body);
    message
}

fn setup_body(words: [u64; 5]) -> Vec<u8> {
    words.map(u64::to_le_bytes).concat()
}

fn remove_body(count: u32, entries: &[(u64, u64)]) -> Vec<u8> {
    let mut body = count.to_le_bytes().to_vec();
    body.extend(entries.iter().flat_map(|(offset, length)| [*offset, *length].map(u64::to_le_bytes).concat()));
    body
}

fn word(bytes: &[u8], at: usize, size: usize) -> u64 {
    (0..size).fold(0, |word, index| word | u64::from(bytes[at + index]) << (8 * index))
}

/// What the rules say of a message: what it asks for, `Err` if it breaks them; none if it has no header.
fn oracle(message: &[u8]) -> Option<Result<Request, ()>> {
    if message.len() < 40 {
        return None;
    }
    let (nodeid, body) = (word(message, 16, 8), &message[40..]);
    let framed = word(message, 0, 4) == message.len() as u64 && word(message, 36, 2) == 0;
    Some(match u32::try_from(word(message, 4, 4)).unwrap() {
        INIT if framed && body.len() >= 16 => {
            let flags = word(body, 12, 4);
            let upper = if flags & (1 << 30) != 0 && body.len() >= 20 { word(body, 16, 4) << 32 } else { 0 };
            Ok(Request::Init(Init { major: u32::try_from(word(body, 0, 4)).unwrap(), flags: flags | upper }))
        }
        DESTROY if framed && body.is_empty() => Ok(Request::Destroy),
        SETUP if framed && body.len() == 40 && [2, 3].contains(&word(body, 24, 8)) => Ok(Request::Setup {
            nodeid,
            fh: Some(word(body, 0, 8)).filter(|fh| *fh != NOTHING),
            range: MapRequest {
                file_offset: FileOffset(word(body, 8, 8)),
                window_offset: WindowOffset(word(body, 32, 8)),
                length: word(body, 16, 8),
                writable: word(body, 24, 8) == 3,
            },
        }),
        REMOVE if framed && body.len() >= 20 && body.len() as u64 == 4 + 16 * word(body, 0, 4) => {
            let entry = |at: usize| (WindowOffset(word(body, at, 8)), word(body, at + 8, 8));
            let entries: Vec<_> = (4..body.len()).step_by(16).map(entry).collect();
            match entries.iter().filter(|(_, length)| *length == NOTHING).count() {
                0 if entries.len() <= 4096 => Ok(Request::Remove(entries)),
                1 if entries.len() == 1 => Ok(Request::RemoveAll),
                _ => Err(()),
            }
        }
        SETUP | REMOVE => Err(()),
        _ => Ok(Request::Other),
    })
}

/// What the guest is told of an errno that a Linux host has.
fn told(opcode: u32, errno: i32) -> i32 {
    match errno {
        4 | 11 if opcode == SETUP => 5,
        12 if opcode == SETUP => 28,
        1..512 => errno,
        _ => 5,
    }
}

/// The rules of `virtio_fs_verify_response`, once more.
fn a_guest_believes(unique: u64, reply: &[u8]) -> bool {
    let error = |reply: &[u8]| i32::from_le_bytes(reply[4..8].try_into().unwrap());
    reply.len() >= 16
        && word(reply, 0, 4) == reply.len() as u64
        && word(reply, 8, 8) == unique
        && (error(reply) == 0 || (error(reply) < 0 && error(reply) > -512 && reply.len() == 16))
}

/// Numbers of which some mean something.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..5u64, 2 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(2 << 20)]
}

fn entries() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((numbers(), numbers()), 0..6)
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::array::uniform5(numbers()).prop_map(setup_body),
        entries().prop_map(|entries| remove_body(u32::try_from(entries.len()).unwrap(), &entries)),
        (any::<u32>(), entries()).prop_map(|(count, entries)| remove_body(count, &entries)),
        prop::collection::vec(any::<u8>(), 0..100),
        Just(vec![]),
    ]
}

/// Well-formed requests and, one time in two, such with some bytes changed, cut off or added.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let opcodes =
        prop_oneof![4 => Just(SETUP), 4 => Just(REMOVE), 1 => Just(INIT), 1 => Just(DESTROY), 1 => any::<u32>()];
    let whole = (opcodes, any::<u64>(), any::<u64>(), bodies()).prop_map(|(o, u, n, body)| message(o, u, n, &body));
    let noise = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (whole, any::<bool>(), noise, -3..3isize).prop_map(|(mut message, clean, noise, tail)| {
        if !clean {
            for (index, byte) in noise {
                *index.get_mut(&mut message) = byte;
            }
            message.resize(message.len().saturating_add_signed(tail), 0xa5);
        }
        message
    })
}

/// A device's own reply to INIT, mostly right.
fn own_replies() -> impl Strategy<Value = Vec<u8>> {
    let errors = prop_oneof![3 => Just(0i32), 1 => -520..5, 1 => any::<i32>()];
    let bodies = prop_oneof![1 => Just(0), 5 => Just(64), 4 => 0..80usize]
        .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    (errors, prop_oneof![9 => Just(7u64), 1 => any::<u64>()], bodies, prop_oneof![9 => Just(0), 1 => -1..2i32])
        .prop_map(|(error, unique, body, lie)| {
            let length = i32::try_from(16 + body.len()).unwrap() + lie;
            [&length.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes(), &body].concat()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_decoded_as_the_rules_say(message in messages()) {
        prop_assert_eq!(decoded(&message).map(|request| request.map_err(|_| ())), oracle(&message));
    }

    #[test]
    fn any_bytes_at_all_are_decoded_as_the_rules_say(message in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decoded(&message).map(|request| request.map_err(|_| ())), oracle(&message));
    }

    #[test]
    fn a_guest_believes_every_reply(unique in any::<u64>(), opcode in any::<u32>(), errno in any::<i32>()) {
        for opcode in [opcode, SETUP, REMOVE] {
            let refused = Err(header(opcode).guest_errno(Errno(errno)));
            for result in [Ok(()), refused] {
                prop_assert!(a_guest_believes(unique, &reply(unique, result)));
            }
        }
    }

    #[test]
    fn a_reply_is_verified_as_a_guest_does(reply in own_replies()) {
        prop_assert_eq!(verify(7, &reply).is_ok(), a_guest_believes(7, &reply));
    }

    #[test]
    fn a_negotiated_reply_is_believed_if_the_device_s_own_is(
        own in own_replies(), major in 6..9u32, flags in any::<u64>(), cut in 0..20usize,
    ) {
        let mut reply = own.clone();
        let offer = negotiate(&Init { major, flags }, 4096, &mut reply);
        prop_assert_eq!(a_guest_believes(7, &reply), a_guest_believes(7, &own));
        prop_assert_eq!(&reply[..28.min(reply.len())], &own[..28.min(own.len())]);
        if offer != Some(Offer::Made) {
            prop_assert_eq!(&reply, &own);
        }
        let mut short = own[..cut.min(own.len())].to_vec();
        negotiate(&Init { major, flags }, 4096, &mut short); // no panic
    }
}

#[test]
#[cfg(target_os = "linux")]
fn every_errno_is_told_by_the_table() {
    for opcode in [SETUP, REMOVE, INIT, 0, 1, u32::MAX] {
        for errno in (0..5000).chain([i32::MIN, -512, -5, -1, i32::MAX]) {
            let number = header(opcode).guest_errno(Errno(errno)).number();
            assert_eq!(number, told(opcode, errno), "opcode {opcode}, errno {errno}");
        }
    }
}

#[test]
fn a_guest_is_never_told_what_would_send_it_in_circles() {
    for (errno, number) in [
        (libc::EAGAIN, 5),
        (libc::EWOULDBLOCK, 5),
        (libc::EINTR, 5),
        (libc::ENOMEM, 28),
        (libc::EIO, 5),
        (libc::ENOSPC, 28),
        (libc::ENOSYS, 38),
    ] {
        assert_eq!(header(SETUP).guest_errno(Errno(errno)).number(), number);
    }
}

#[test]
fn a_body_cut_at_every_byte_is_malformed() {
    for (opcode, body) in
        [(SETUP, setup_body([1, 0, 4096, 3, 0])), (REMOVE, remove_body(2, &[(0, 4096), (4096, 4096)]))]
    {
        for kept in 0..body.len() {
            let cut = message(opcode, 7, 2, &body[..kept]);
            assert!(decoded(&cut).unwrap().is_err(), "opcode {opcode}, {kept} bytes");
        }
        assert!(decoded(&message(opcode, 7, 2, &body)).unwrap().is_ok());
    }
}

#[test]
fn as_many_removals_as_a_64_kib_page_holds_are_taken_and_one_more_is_not() {
    let most = vec![(0, 4096); 4096];
    let body = remove_body(4096, &most);
    assert_eq!(body.len(), LONGEST_BODY);
    assert!(decoded(&message(REMOVE, 7, 0, &body)).unwrap().is_ok());
    let more = [most, vec![(0, 4096)]].concat();
    assert!(decoded(&message(REMOVE, 7, 0, &remove_body(4097, &more))).unwrap().is_err());
}

#[test]
fn a_reply_offers_what_the_guest_offered_and_keeps_the_rest() {
    const BOTH: u64 = 1 << 26 | 1 << 30 | 1 << 33;
    let own: Vec<u8> = [&[80, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..], &[0xa5; 64]].concat();
    let negotiated = |flags: u64, length: usize| {
        let mut reply = own[..length].to_vec();
        let offer = negotiate(&Init { major: 7, flags }, 16384, &mut reply);
        let changed = |(at, (is, was)): (usize, (&u8, &u8))| (is != was).then(|| (at - 16, *is));
        (offer, reply.iter().zip(&own).enumerate().filter_map(changed).collect::<Vec<_>>())
    };
    // Of the VMM's flags, 0xa5a5a5a5, bit 26 is 1 already and bit 30 is not; so its upper half counts for nothing.
    let alignment = [(30, 14), (31, 0)];
    let per_file = [(15, 0xe5), (30, 14), (31, 0), (32, 2), (33, 0), (34, 0), (35, 0)];
    assert_eq!(negotiated(1 << 26, 80), (Some(Offer::Made), alignment.to_vec()));
    assert_eq!(negotiated(BOTH, 80), (Some(Offer::Made), per_file.to_vec()));
    assert_eq!(negotiated(BOTH, 52), (Some(Offer::Made), per_file.to_vec()));
    assert_eq!(negotiated(BOTH, 51), (Some(Offer::Made), alignment.to_vec()));
    assert_eq!(negotiated(BOTH, 47), (Some(Offer::TooShort { body: 31 }), vec![]));
    assert_eq!(negotiated(BOTH & !(1 << 26), 80), (Some(Offer::NotWanted), vec![]));
    let told = [Offer::Made, Offer::NotWanted, Offer::TooShort { body: 31 }].map(|offer| offer.to_string());
    assert!(told[0].contains("may map") && told[1].contains("FUSE_MAP_ALIGNMENT") && told[2].contains("31 bytes"));
}

#[test]
fn a_reply_that_settles_nothing_stays_as_it_is() {
    let init = Init { major: 7, flags: u64::MAX };
    let mut refusal = reply(7, Err(header(INIT).guest_errno(Errno(libc::EIO))));
    assert_eq!(negotiate(&init, 4096, &mut refusal), None);
    let mut own = [vec![80, 0, 0, 0], vec![0; 76]].concat();
    assert_eq!(negotiate(&Init { major: 8, ..init }, 4096, &mut own), None);
    assert_eq!(own[16..], [0; 64]);
}

#[test]
fn the_policy_marks_regular_files_that_are_large_enough() {
    let marks = |policy: Policy| {
        [(0o040_755, 99), (0o100_644, 99), (0o100_644, 100), (0o120_777, 100), (0o060_600, 100)]
            .map(|(mode, size)| policy.attr_flags(mode, size))
    };
    assert_eq!(marks(Policy::Always), [0, 2, 2, 0, 0]);
    assert_eq!(marks(Policy::Inode { min_size: 100 }), [0, 0, 2, 0, 0]);
    assert_eq!(marks(Policy::Never), [0; 5]);
}

#[test]
fn outcomes_are_counted_by_what_the_guest_was_told() {
    let outcomes = Outcomes::default();
    outcomes.count(Ok(()));
    for errno in [libc::ENOENT, libc::EAGAIN, libc::EINTR, 511, 512] {
        outcomes.count(Err(header(SETUP).guest_errno(Errno(errno))));
    }
    assert_eq!(outcomes.mapped(), 1);
    let eio = if cfg!(target_os = "linux") { vec![(2, 1), (5, 3), (511, 1)] } else { vec![(2, 1), (5, 4)] };
    assert_eq!(outcomes.refused(), eio);
    outcomes.clear();
    assert_eq!((outcomes.mapped(), outcomes.refused()), (0, vec![]));
}
