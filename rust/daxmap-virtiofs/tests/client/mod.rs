//! A guest's side of the protocol: requests, and what comes back (include/uapi/linux/fuse.h).
#![allow(dead_code)] // no test uses all of it

pub(crate) mod requests;

use daxmap_core::fuse::verify;
use daxmap_virtiofs::FileServer;

pub(crate) const ROOT: u64 = 1;
/// The user whose processes send requests, unless they say otherwise.
pub(crate) const USER: u32 = 1000;
/// No open file is meant (`FUSE_NO_FH`).
pub(crate) const NO_FH: u64 = u64::MAX;
const UNIQUE: u64 = 8;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) opcode: u32,
    nodeid: u64,
    owner: [u32; 2],
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(opcode: u32, nodeid: u64) -> Self {
        Self { opcode, nodeid, owner: [USER; 2], body: Vec::new() }
    }

    pub(crate) fn longs(mut self, longs: &[u64]) -> Self {
        self.body.extend(longs.iter().flat_map(|long| long.to_le_bytes()));
        self
    }

    pub(crate) fn words(mut self, words: &[u32]) -> Self {
        self.body.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }

    pub(crate) fn name(mut self, name: &str) -> Self {
        self.body.extend(name.as_bytes());
        self.body.push(0);
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.body.extend(bytes);
        self
    }

    /// The same from a process of another user and group.
    pub(crate) fn by(self, uid: u32, gid: u32) -> Self {
        Self { owner: [uid, gid], ..self }
    }

    pub(crate) fn whole(&self) -> Vec<u8> {
        let length = u32::try_from(40 + self.body.len()).unwrap();
        let header = Self::new(0, 0).words(&[length, self.opcode]).longs(&[UNIQUE, self.nodeid]);
        header.words(&self.owner).words(&[1, 0]).bytes(&self.body).body
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 0 for success.
    pub(crate) errno: i32,
    pub(crate) body: Vec<u8>,
}

/// FORGET, INTERRUPT, `NOTIFY_REPLY` and `BATCH_FORGET` have no reply.
pub(crate) const SILENT: [u32; 4] = [2, 36, 41, 42];

/// The reply to a request, which is held to the rules; an empty one, where there is to be none.
pub(crate) fn parse(request: &Request, reply: Option<Vec<u8>>) -> Reply {
    let Some(mut reply) = reply else {
        assert!(SILENT.contains(&request.opcode), "no reply to {request:?}");
        return Reply { errno: 0, body: Vec::new() };
    };
    verify(UNIQUE, &reply).unwrap();
    let errno = -i32::from_le_bytes(reply[4..8].try_into().unwrap());
    Reply { errno, body: reply.split_off(16) }
}

pub(crate) fn ask(server: &FileServer, request: &Request) -> Reply {
    parse(request, server.answer(&request.whole()))
}

/// The number of eight bytes at a place of a reply's body.
pub(crate) fn long(body: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(body[at..at + 8].try_into().unwrap())
}

/// The number of four bytes at a place of a reply's body.
pub(crate) fn word(body: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(body[at..at + 4].try_into().unwrap())
}
