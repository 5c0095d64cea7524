//! What the fuzzer starts from: requests that are in order, for it to change. Each file in `seeds/` has one.

use crate::wire::{self, longs, message, remove, setup, words};
use std::path::{Path, PathBuf};

/// Target, name and content of each seed.
#[must_use]
pub fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let of = |target, seeds: Vec<(&'static str, Vec<u8>)>| {
        seeds.into_iter().map(move |(name, content)| (target, name, content))
    };
    of("decode", messages())
        .chain(of("negotiate", negotiations()))
        .chain(of("requests", windows()))
        .chain(of("server", sessions()))
        .collect()
}

/// Where a seed is.
#[must_use]
pub fn path(target: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target).join(name)
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("setup", setup(2, 0, 2 << 20, 2, 4 << 20)),
        ("setup-writable-by-handle", message(wire::SETUPMAPPING, 2, &longs(&[5, 4096, 4096, 3, 0]))),
        ("remove-one", remove(&[(0, 4096)])),
        ("remove-three", remove(&[(0, 4096), (2 << 20, 2 << 20), (8192, 4096)])),
        ("remove-all", remove(&[(0, u64::MAX)])),
        ("remove-all-and-more", remove(&[(0, u64::MAX), (0, 4096)])),
        ("init", message(wire::INIT, 0, &wire::init(u32::MAX, u32::MAX))),
        ("init-of-7.9", message(wire::INIT, 0, &wire::init(0, 0)[..16])),
        ("destroy", message(wire::DESTROY, 0, &[])),
        ("lookup", message(wire::LOOKUP, 1, b"a\0")),
    ]
}

/// A reply to INIT, with so many of the bytes of a `struct fuse_init_out`.
fn init_reply(error: i32, flags: u32, body: usize) -> Vec<u8> {
    let mut out = words(&[7, 38, 0x2_0000, flags, 0x0040_0040, 1 << 20, 1, 256]);
    out.resize(64, 0);
    let length = u32::try_from(16 + body).unwrap();
    [words(&[length, error.cast_unsigned()]), longs(&[7]), out[..body].to_vec()].concat()
}

fn negotiations() -> Vec<(&'static str, Vec<u8>)> {
    let whole = wire::init(u32::MAX, u32::MAX);
    let of = |init: &[u8], reply: Vec<u8>| [&[u8::try_from(init.len()).unwrap()], init, &reply].concat();
    vec![
        ("all-that-there-is", of(&whole, init_reply(0, 1 << 30, 64))),
        ("no-upper-flags", of(&wire::init(1 << 26, 0), init_reply(0, 0, 64))),
        ("no-window", of(&wire::init(1 << 30, 2), init_reply(0, 0, 64))),
        ("reply-of-7.22", of(&whole, init_reply(0, 0, 24))),
        ("reply-without-flags2", of(&whole, init_reply(0, 0, 32))),
        ("refused", of(&whole, init_reply(-22, 0, 0))),
        ("other-major", of(&[&[8, 0, 0, 0], &whole[4..]].concat(), init_reply(0, 0, 64))),
        ("request-of-7.9", of(&whole[..16], init_reply(0, 0, 64))),
    ]
}

/// See `requests`: options, then requests of a few bytes each.
fn windows() -> Vec<(&'static str, Vec<u8>)> {
    // Kind, file, its page, range and page of the window (from 4 on), pages, and whether to write.
    let set_up = |file, file_page, page, pages, write| [0, file, file_page, 0, page, pages, write];
    let look = |page| [0, page];
    let remove_one = |page, pages| [8, 0, 0, page, pages];
    vec![
        ("upgrade", [&[0][..], &set_up(1, 0, 4, 2, 0), &look(4), &set_up(1, 0, 4, 2, 1), &look(5)].concat()),
        ("replace", [&[0][..], &set_up(1, 0, 4, 5, 1), &look(4), &set_up(2, 1, 6, 1, 0), &look(6)].concat()),
        ("cut", [&[0][..], &set_up(1, 0, 4, 5, 0), &look(4), &remove_one(5, 2), &look(6)].concat()),
        ("cut-over-the-limit", [&[8][..], &set_up(1, 0, 4, 5, 0), &look(4), &remove_one(5, 2), &look(6)].concat()),
        ("readonly", [&[7][..], &set_up(1, 0, 4, 1, 1), &look(4), &set_up(3, 0, 4, 1, 0), &look(4)].concat()),
        ("not-writable", [&[0][..], &set_up(3, 0, 4, 1, 0), &look(4), &set_up(3, 0, 4, 1, 1), &look(4)].concat()),
        ("two-ranges", [&[0][..], &set_up(1, 0, 4, 194, 1), &look(4), &[0, 2, 0, 1, 4, 194, 0], &look(9)].concat()),
        ("remove-all", [&[0][..], &set_up(1, 0, 4, 5, 0), &look(4), &[11], &look(4)].concat()),
        ("init-and-destroy", [&[0][..], &set_up(1, 0, 4, 5, 0), &look(4), &[12], &look(4), &[13], &look(4)].concat()),
        ("store", [&[0][..], &set_up(1, 0, 4, 5, 1), &look(4), &[15, 0, 4, 9], b"ABCDEFGH", &look(4)].concat()),
        ("raw", [&[0, 14, 80][..], &setup(1, 0, 4096, 2, 0), &look(4)].concat()),
    ]
}

/// See `server`: 1 for requests as they are, plus 2 for a read-only share, plus 4 for one whose files are the guest's users'.
fn sessions() -> Vec<(&'static str, Vec<u8>)> {
    let raw = |how: u8, requests: &[Vec<u8>]| {
        let with_length =
            |request: &Vec<u8>| [u16::try_from(request.len()).unwrap().to_le_bytes().as_slice(), request].concat();
        [vec![how], requests.iter().flat_map(with_length).collect()].concat()
    };
    let init = message(wire::INIT, 0, &wire::init(u32::MAX, u32::MAX));
    let look = message(wire::LOOKUP, 1, b"a\0");
    let open = |flags| message(wire::OPEN, 2, &words(&[flags, 0]));
    let read = message(wire::READ, 2, &[longs(&[1, 0]), words(&[4096, 0, 0, 0, 0, 0])].concat());
    let write = message(wire::WRITE, 2, &[longs(&[1, 100]), words(&[5, 0, 0, 0, 2, 0]), b"DAXes".to_vec()].concat());
    let attributes = message(wire::GETATTR, 2, &[0; 16]);
    let create = message(wire::CREATE, 1, &[words(&[2, 0o644, 0o22, 0]), b"new\0".to_vec()].concat());
    let directory = message(wire::OPENDIR, 1, &words(&[0, 0]));
    let list = message(wire::READDIRPLUS, 1, &[longs(&[1, 0]), words(&[4096, 0, 0, 0, 0, 0])].concat());
    let moved = message(wire::RENAME2, 1, &[longs(&[1]), words(&[2, 0]), b"a\0b\0".to_vec()].concat());
    let map = |flags| setup(2, 0, 4096, flags, 0);
    let destroy = message(wire::DESTROY, 0, &[]);
    let by_guest = |how: u8, start: u32| {
        let bytes = (1..400_u32).map(|at| (start.wrapping_add(at).wrapping_mul(0x9e37_79b1) >> 24).to_le_bytes()[0]);
        [vec![how], bytes.collect()].concat()
    };
    vec![
        ("read", raw(1, &[init.clone(), look.clone(), open(0), read.clone(), attributes.clone(), destroy.clone()])),
        ("write", raw(1, &[look.clone(), open(2), write.clone(), attributes.clone()])),
        ("write-readonly", raw(3, &[look.clone(), open(2), write, map(3)])),
        ("map", raw(1, &[init, look.clone(), map(2), map(3), remove(&[(0, 4096)]), destroy])),
        ("create", raw(1, &[create.clone(), attributes.clone()])),
        ("create-as-guest", raw(5, &[create, attributes])),
        ("list", raw(1, &[directory, list])),
        ("exchange", raw(1, &[look, moved, open(0), read])),
        ("guest-1", by_guest(0, 0)),
        ("guest-2", by_guest(0, 1000)),
        ("guest-readonly", by_guest(2, 2000)),
        ("guest-as-guest", by_guest(4, 3000)),
    ]
}
