//! The decoder: what it makes of a message is what the kernel's header says.

use crate::uapi::{InHeader, Meaning, meaning, takes};
use crate::wire::with_right_length;
use daxmap_core::Errno;
use daxmap_core::fuse::{Header, Request, decode as decode_body, reply};

/// Decodes a message as it is, and once more with the length that its header says made right: a wrong one is refused before
/// anything else is looked at.
pub fn decode(data: &[u8]) {
    check(data);
    check(&with_right_length(data.to_vec()));
}

fn check(message: &[u8]) {
    let Some((header, body)) = Header::parse(message) else {
        assert_eq!(meaning(message), None);
        return;
    };
    let expected = InHeader::of(message).unwrap();
    let of_header = (u64::from(header.opcode()), header.unique(), header.nodeid());
    assert_eq!(of_header, (expected.opcode, expected.unique, expected.nodeid));
    assert_eq!(body, &message[InHeader::SIZE..]);
    let decoded = understood(&header, body);
    assert_eq!(Some(&decoded), meaning(message).as_ref());
    assert!(header.concerns_dax() || decoded == Meaning::Other);
    let any_errno = Errno(expected.nodeid as i32);
    let refusal = reply(header.unique(), Err(header.guest_errno(any_errno)));
    assert!(takes(header.unique(), &refusal), "Linux would not believe the refusal {refusal:?}");
}

/// What the decoder makes of a request.
fn understood(header: &Header, body: &[u8]) -> Meaning {
    match decode_body(header, body) {
        Err(_) => Meaning::Malformed,
        Ok(Request::Setup { nodeid, fh, range }) => Meaning::Setup {
            nodeid,
            fh,
            file_offset: range.file_offset.0,
            length: range.length,
            window_offset: range.window_offset.0,
            writable: range.writable,
        },
        Ok(Request::Remove(ranges)) => {
            Meaning::Remove(ranges.iter().map(|(offset, length)| (offset.0, *length)).collect())
        }
        Ok(Request::RemoveAll) => Meaning::RemoveAll,
        Ok(Request::Init(init)) => Meaning::Init { major: u64::from(init.major), flags: init.flags },
        Ok(Request::Destroy) => Meaning::Destroy,
        Ok(Request::Other) => Meaning::Other,
    }
}
