//! The file server, over a directory of the host: requests of every opcode get well-formed replies or none, and nothing
//! outside of the directory changes.

#[path = "../../../daxmap-virtiofs/tests/fuzz/guest.rs"]
mod guest;
mod random;
#[path = "../../../daxmap-virtiofs/tests/fuzz/served.rs"]
mod served;
#[path = "../../../daxmap-virtiofs/tests/fuzz/tree.rs"]
mod tree;

use crate::uapi::{field, takes};
use crate::wire::{
    CREATE, FALLOCATE, LINK, MKDIR, MKNOD, OPEN, REMOVEXATTR, RENAME, RENAME2, RMDIR, SETATTR, SETXATTR, SYMLINK,
    UNLINK, WRITE, with_right_length,
};
use daxmap_virtiofs::Owner;
use guest::Guest;
use random::Random;
use served::{MOST_OPEN, Served};
use std::cell::LazyCell;
use tree::{Tree, descriptors};

/// After which the directory may be another.
const CHANGES: [u32; 14] = [
    SETATTR,
    SYMLINK,
    MKNOD,
    MKDIR,
    UNLINK,
    RMDIR,
    RENAME,
    LINK,
    WRITE,
    SETXATTR,
    REMOVEXATTR,
    CREATE,
    FALLOCATE,
    RENAME2,
];
/// `O_TRUNC` of a Linux guest.
const O_TRUNC: u64 = 0o1000;
/// The longest file that a raw FALLOCATE may ask for: it would take the host's memory.
const LARGEST: u64 = 1 << 20;

thread_local! {
    static SANDBOX: LazyCell<Sandbox> = LazyCell::new(Sandbox::new);
}

/// A directory that is made once, and anew where an input has changed it.
struct Sandbox {
    tree: Tree,
    /// What lies beside the directory.
    outside: String,
}

/// The first byte tells how to serve the directory, and whether the others are requests as they are, each after its length
/// in two bytes, or what a guest that makes requests takes for random numbers.
pub fn server(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    SANDBOX.with(|sandbox| sandbox.attack(how % 2 == 1, how / 2 % 2 == 1, how / 4 % 2 == 1, data));
}

impl Sandbox {
    fn new() -> Self {
        let tree = Tree::new("guided");
        Served::new(&tree, false, Owner::Host).close(); // what is opened once for the process
        Self { outside: tree.audit(), tree }
    }

    fn attack(&self, raw: bool, readonly: bool, owner_is_guest: bool, data: &[u8]) {
        let owner = if owner_is_guest && rustix::process::geteuid().is_root() { Owner::Guest } else { Owner::Host };
        let open = descriptors();
        let inside = readonly.then(|| self.tree.audit_share());
        let served = Served::new(&self.tree, readonly, owner);
        let changed = if raw { send_raw(&served, data) } else { send_of_guest(&served, data) };
        assert!(descriptors() <= open + MOST_OPEN as usize + 8, "{} descriptors", descriptors());
        served.forget_all();
        served.close();
        assert_eq!(descriptors(), open, "descriptors are left open");
        assert_eq!(self.tree.audit(), self.outside);
        match inside {
            Some(before) => assert_eq!(self.tree.audit_share(), before),
            None if changed => self.tree.refill(),
            None => {}
        }
    }
}

/// Whether the directory may be another now.
fn send_of_guest(served: &Served, data: &[u8]) -> bool {
    let mut guest = Guest::new(Random::new(data));
    let mut changed = false;
    while !guest.random.is_spent() {
        let asked = guest.ask();
        let reply = served.send(&mut guest, &asked);
        guest.hear(&asked, &reply);
        changed |= changes(&asked.bytes, &reply);
    }
    changed
}

/// Whether the directory may be another now.
fn send_raw(served: &Served, mut data: &[u8]) -> bool {
    let mut changed = false;
    while let Some((length, rest)) = data.split_first_chunk() {
        let (message, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        data = rest;
        let message = with_right_length(message.to_vec());
        if field(&message, 4, 4) == Some(FALLOCATE.into()) && field(&message, 56, 8) > Some(LARGEST) {
            continue;
        }
        let reply = served.server.answer(&message).unwrap_or_default();
        if let Some(unique) = field(&message, 8, 8).filter(|_| !reply.is_empty()) {
            assert!(takes(unique, &reply), "Linux would not believe {reply:x?}");
        }
        changed |= changes(&message, &reply);
    }
    changed
}

/// Whether a request that had this reply may have changed the directory.
fn changes(message: &[u8], reply: &[u8]) -> bool {
    // One in pieces may have been done, though its reply had no room.
    let is_done = field(reply, 4, 4).is_none_or(|error| error == 0);
    let opcode = field(message, 4, 4).unwrap_or(0);
    let truncates = opcode == u64::from(OPEN) && field(message, 40, 4).unwrap_or(0) & O_TRUNC != 0;
    is_done && (truncates || CHANGES.iter().any(|change| opcode == u64::from(*change)))
}
