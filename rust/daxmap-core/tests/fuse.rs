//! Any bytes a guest may send, against the rules of the wire written down a second time.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use daxmap_core::fuse::{Dispatcher, Header, LONGEST_BODY, Removal, Reply, Setup, Target, Undone};
use daxmap_core::{Errno, FileOffset, WindowOffset};
use proptest::prelude::*;
use std::cell::RefCell;

const INIT: u32 = 26;
const DESTROY: u32 = 38;
const SETUP: u32 = 48;
const REMOVE: u32 = 49;
const NOTHING: u64 = u64::MAX;

/// What a target was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Setup(Setup),
    Remove(Removal),
    Restart,
}

type Answer = Result<(), Undone<&'static str>>;

/// A target that does nothing, answers as it is told, and remembers.
struct Recorder {
    answer: Answer,
    asked: RefCell<Vec<Asked>>,
}

impl Target for Recorder {
    type Interrupt = &'static str;

    fn setup(&self, wanted: &Setup) -> Answer {
        self.asked.borrow_mut().push(Asked::Setup(*wanted));
        self.answer
    }

    fn remove(&self, which: &Removal) -> Answer {
        self.asked.borrow_mut().push(Asked::Remove(which.clone()));
        self.answer
    }

    fn restart(&self) -> Result<(), &'static str> {
        self.asked.borrow_mut().push(Asked::Restart);
        Ok(())
    }
}

/// The reply to a request whose target gives `answer`, and what the target was asked.
fn answered(message: &[u8], answer: Answer) -> (Result<Option<Reply>, &'static str>, Vec<Asked>) {
    let target = Recorder { answer, asked: RefCell::default() };
    let reply = match Header::parse(message) {
        Some((header, body)) => Dispatcher::new().answer(&header, body, &target),
        None => Ok(None),
    };
    (reply, target.asked.into_inner())
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

fn reply(unique: u64, error: i32) -> Reply {
    let whole = [16u32.to_le_bytes(), (-error).to_le_bytes()].concat();
    [whole, unique.to_le_bytes().to_vec()].concat().try_into().unwrap()
}

fn word(bytes: &[u8], at: usize, size: usize) -> u64 {
    (0..size).fold(0, |word, index| word | u64::from(bytes[at + index]) << (8 * index))
}

/// What the rules say of a request: its reply if the target says yes, and what the target is asked.
fn oracle(message: &[u8]) -> (Option<Reply>, Vec<Asked>) {
    if message.len() < 40 {
        return (None, vec![]);
    }
    let (unique, nodeid, body) = (word(message, 8, 8), word(message, 16, 8), &message[40..]);
    let framed = word(message, 0, 4) == message.len() as u64 && word(message, 36, 2) == 0;
    let asked = match u32::try_from(word(message, 4, 4)).unwrap() {
        INIT => return (None, if framed && body.len() >= 16 { vec![Asked::Restart] } else { vec![] }),
        DESTROY => return (None, if framed && body.is_empty() { vec![Asked::Restart] } else { vec![] }),
        SETUP if framed && body.len() == 40 && [2, 3].contains(&word(body, 24, 8)) => Asked::Setup(Setup {
            nodeid,
            fh: Some(word(body, 0, 8)).filter(|fh| *fh != NOTHING),
            file_offset: FileOffset(word(body, 8, 8)),
            window_offset: WindowOffset(word(body, 32, 8)),
            length: word(body, 16, 8),
            writable: word(body, 24, 8) == 3,
        }),
        REMOVE if framed && body.len() >= 20 && body.len() as u64 == 4 + 16 * word(body, 0, 4) => {
            let entry = |at: usize| (WindowOffset(word(body, at, 8)), word(body, at + 8, 8));
            let entries: Vec<_> = (4..body.len()).step_by(16).map(entry).collect();
            match entries.iter().filter(|(_, length)| *length == NOTHING).count() {
                0 if entries.len() <= 4096 => Asked::Remove(Removal::Of(entries)),
                1 if entries.len() == 1 => Asked::Remove(Removal::OfEverything),
                _ => return (Some(reply(unique, 22)), vec![]),
            }
        }
        SETUP | REMOVE => return (Some(reply(unique, 22)), vec![]),
        _ => return (None, vec![]),
    };
    (Some(reply(unique, 0)), vec![asked])
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_as_the_rules_say(message in messages()) {
        let (expected, asked) = oracle(&message);
        prop_assert_eq!(answered(&message, Ok(())), (Ok(expected), asked));
    }

    #[test]
    fn any_bytes_at_all_are_answered_as_the_rules_say(message in prop::collection::vec(any::<u8>(), 0..200)) {
        let (expected, asked) = oracle(&message);
        prop_assert_eq!(answered(&message, Ok(())), (Ok(expected), asked));
    }

    #[test]
    fn a_refusal_is_told_with_a_linux_errno_whatever_it_is(errno in any::<i32>(), unique in any::<u64>()) {
        let request = message(SETUP, unique, 2, &setup_body([NOTHING, 0, 4096, 2, 0]));
        let (reply, _) = answered(&request, Err(Undone::Errno(Errno(errno))));
        let reply = reply.unwrap().unwrap();
        let told = -i32::from_le_bytes(reply[4..8].try_into().unwrap());
        prop_assert!((1..=133).contains(&told), "{told}");
        prop_assert_eq!((word(&reply, 0, 4), word(&reply, 8, 8)), (16, unique));
    }
}

#[test]
fn a_body_cut_at_every_byte_reaches_no_target() {
    for (opcode, body) in
        [(SETUP, setup_body([1, 0, 4096, 3, 0])), (REMOVE, remove_body(2, &[(0, 4096), (4096, 4096)]))]
    {
        for kept in 0..body.len() {
            let cut = message(opcode, 7, 2, &body[..kept]);
            assert_eq!(answered(&cut, Ok(())), (Ok(Some(reply(7, 22))), vec![]), "opcode {opcode}, {kept} bytes");
        }
        assert_eq!(answered(&message(opcode, 7, 2, &body), Ok(())).1.len(), 1);
    }
}

#[test]
fn as_many_removals_as_a_64_kib_page_holds_are_taken_and_one_more_is_not() {
    let most = vec![(0, 4096); 4096];
    let body = remove_body(4096, &most);
    assert_eq!(body.len(), LONGEST_BODY);
    assert_eq!(answered(&message(REMOVE, 7, 0, &body), Ok(())).1.len(), 1);
    let more = [most, vec![(0, 4096)]].concat();
    assert_eq!(answered(&message(REMOVE, 7, 0, &remove_body(4097, &more)), Ok(())), (Ok(Some(reply(7, 22))), vec![]));
}

#[test]
fn an_interrupt_is_no_reply() {
    let request = message(REMOVE, 7, 0, &remove_body(1, &[(0, 4096)]));
    assert_eq!(answered(&request, Err(Undone::Interrupted("stop"))).0, Err("stop"));
}

#[test]
fn an_init_starts_the_counts_anew_and_a_destroy_does_not() {
    let dispatcher = Dispatcher::new();
    let send = |opcode: u32, body: &[u8], answer| {
        let message = message(opcode, 7, 2, body);
        let (header, body) = Header::parse(&message).unwrap();
        dispatcher.answer(&header, body, &Recorder { answer, asked: RefCell::default() }).unwrap();
    };
    let setup = setup_body([NOTHING, 0, 4096, 2, 0]);
    send(SETUP, &setup, Ok(()));
    send(SETUP, &setup, Err(Undone::Errno(Errno(libc::ENOSPC))));
    send(SETUP, &setup[1..], Ok(()));
    send(REMOVE, &remove_body(1, &[(0, 4096)]), Err(Undone::Errno(Errno(libc::ENOENT))));
    send(DESTROY, &[], Ok(()));
    let counts = dispatcher.counts();
    assert_eq!((counts.mapped, counts.refused), (1, vec![(libc::EINVAL, 1), (libc::ENOSPC, 1)]));
    send(INIT, &[0; 64], Ok(()));
    assert_eq!(dispatcher.counts(), daxmap_core::fuse::Counts::default());
}
