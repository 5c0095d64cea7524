//! A guest's session, message by message: what each asks for, what it is told, and what is counted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use daxmap_core::fuse::{Header, Init, Malformed, Offer, Policy, Request, Session, decode, verify};
use daxmap_core::{Errno, FileOffset, MapRequest, WindowOffset, page_size};

const INIT: u32 = 26;
const DESTROY: u32 = 38;
const SETUP: u32 = 48;
const REMOVE: u32 = 49;
const WHOLE: u64 = u64::MAX;

fn message(opcode: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    let words = [7_u64, 2, 0, 0].map(u64::to_le_bytes).concat(); // unique, nodeid; who asks is of no interest
    [&length.to_le_bytes()[..], &opcode.to_le_bytes(), &words, body].concat()
}

fn header(opcode: u32) -> Header {
    Header::parse(&message(opcode, &[])).unwrap().0
}

fn decoded(message: &[u8]) -> Result<Request, Malformed> {
    let (header, body) = Header::parse(message).unwrap();
    decode(&header, body)
}

fn setup(fh: u64, flags: u64) -> Result<Request, Malformed> {
    decoded(&message(SETUP, &[fh, 0x3000, 0x2000, flags, 0x7000].map(u64::to_le_bytes).concat()))
}

fn removal(entries: &[(u64, u64)]) -> Result<Request, Malformed> {
    let count = u32::try_from(entries.len()).unwrap();
    let words = entries.iter().flat_map(|(offset, length)| [*offset, *length].map(u64::to_le_bytes));
    decoded(&message(REMOVE, &[&count.to_le_bytes()[..], &words.collect::<Vec<_>>().concat()].concat()))
}

#[test]
fn a_header_tells_what_it_has() {
    for (opcode, is_setup, concerns_dax) in
        [(INIT, false, true), (DESTROY, false, true), (SETUP, true, true), (REMOVE, false, true), (3, false, false)]
    {
        let header = header(opcode);
        assert_eq!((header.opcode(), header.unique(), header.nodeid()), (opcode, 7, 2));
        assert_eq!((header.is_setup(), header.concerns_dax()), (is_setup, concerns_dax));
    }
}

#[test]
fn a_setup_reads_or_reads_and_writes() {
    let range = |writable| MapRequest {
        file_offset: FileOffset(0x3000),
        window_offset: WindowOffset(0x7000),
        length: 0x2000,
        writable,
    };
    for (fh, flags, expected) in [
        (5, 2, Some((Some(5), false))),
        (5, 3, Some((Some(5), true))),
        (u64::MAX, 2, Some((None, false))),
        (5, 0, None),
        (5, 1, None),
        (5, 6, None),
    ] {
        let expected = expected.map(|(fh, writable)| Request::Setup { nodeid: 2, fh, range: range(writable) });
        assert_eq!(setup(fh, flags).ok(), expected, "flags {flags}");
    }
}

#[test]
fn a_removal_is_of_ranges_or_of_the_whole_window() {
    let ranges = vec![(WindowOffset(0x1000), 0x2000), (WindowOffset(0), 0)];
    assert_eq!(removal(&[(0x1000, 0x2000), (0, 0)]).unwrap(), Request::Remove(ranges));
    assert_eq!(removal(&[(0, WHOLE)]).unwrap(), Request::RemoveAll);
    assert!(removal(&[(0, WHOLE), (0, 0x1000)]).is_err());
    let broken = removal(&[]).unwrap_err();
    assert_eq!(broken.to_string(), "it breaks the rule that the count of a REMOVEMAPPING is 1 to 4096");
}

#[test]
fn init_and_destroy_are_told_from_what_only_looks_so() {
    let init = |flags: u32, flags2: &[u8]| {
        let words = [7, 41, 0, flags].map(u32::to_le_bytes).concat();
        decoded(&message(INIT, &[&words, flags2].concat())).unwrap()
    };
    let of = |flags: u64| Request::Init(Init { major: 7, flags });
    assert_eq!(init(1 << 26, &[]), of(1 << 26));
    assert_eq!(init(1 << 26, &[2, 0, 0, 0]), of(1 << 26), "without FUSE_INIT_EXT they count for nothing");
    assert_eq!(init(1 << 26 | 1 << 30, &[2, 0, 0, 0]), of(1 << 26 | 1 << 30 | 1 << 33));
    assert_eq!(decoded(&message(INIT, &[0; 15])).unwrap(), Request::Other, "too short for any INIT");
    assert_eq!(decoded(&message(DESTROY, &[])).unwrap(), Request::Destroy);
    assert_eq!(decoded(&message(DESTROY, &[0])).unwrap(), Request::Other);
    for (opcode, body) in [(INIT, &[0; 16][..]), (DESTROY, &[])] {
        let mut longer = message(opcode, body);
        longer[0] += 1;
        assert_eq!(decoded(&longer).unwrap(), Request::Other, "its length is another");
    }
}

#[test]
fn a_session_counts_what_its_guest_was_told() {
    let session = Session::new(Policy::Always);
    for (opcode, done) in [(SETUP, Ok(())), (SETUP, Err(Errno(libc::ENOENT))), (REMOVE, Err(Errno(libc::EINVAL)))] {
        assert!(verify(7, &session.reply(&header(opcode), done)).is_ok());
    }
    assert_eq!((session.outcomes().mapped(), session.outcomes().refused()), (1, vec![(libc::ENOENT, 1)]));
    assert!(session.warnings().last().is_none(), "each was told as it is");
    let told = session.reply(&header(SETUP), Err(Errno(libc::ENOMEM)));
    assert_eq!(i32::from_le_bytes(told[4..8].try_into().unwrap()), -libc::ENOSPC);
    assert_eq!(session.warnings().last().unwrap().1, "the guest is told ENOSPC in place of errno 12");
    session.restart();
    assert_eq!((session.outcomes().mapped(), session.outcomes().refused()), (0, vec![]));
    assert_eq!(session.malformed(removal(&[]).unwrap_err()), Errno(libc::EINVAL));
    assert!(session.warnings().last().unwrap().1.starts_with("malformed request refused: it breaks the rule that "));
}

#[test]
fn a_session_keeps_the_last_offer() {
    let session = Session::new(Policy::Always);
    let mut own = [&80_u32.to_le_bytes()[..], &[0; 76]].concat();
    let mut offer = |major: u32, flags: u64| {
        session.negotiate(&Init { major, flags }, &mut own);
        session.offer().map(|offer| offer.to_string())
    };
    assert_eq!(offer(8, 1 << 26), None, "it will ask for version 7");
    assert_eq!(offer(7, 0).as_deref(), Some("the guest's INIT has no FUSE_MAP_ALIGNMENT"));
    assert_eq!(offer(7, 1 << 26).as_deref(), Some("the guest may map files"));
    assert_eq!(own[16 + 30], u8::try_from(page_size().trailing_zeros()).unwrap());
    let short = Offer::TooShort { body: 24 }.to_string();
    assert_eq!(short, "the VMM's reply to INIT, of 24 bytes, has no map_alignment");
}

#[test]
fn a_reply_that_no_guest_believes_breaks_a_rule() {
    let refused = verify(8, &Session::new(Policy::Never).reply(&header(SETUP), Ok(()))).unwrap_err();
    assert_eq!(refused.to_string(), "it breaks the rule that header.unique is the request's");
}
