//! Random requests of every opcode, from one guest and from many at once: each gets a well-formed reply or none, nothing
//! outside the share is touched, and no descriptor is left open.
//!
//! `FUZZ_REQUESTS=10000000 cargo test --release -p daxmap-virtiofs --test fuzz` sends that many requests in each test,
//! from `FUZZ_SEED` on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::cast_possible_truncation, missing_docs)]

mod guest;
mod random;
mod tree;

use daxmap_core::fuse::{Policy, verify};
use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options as MapperOptions};
use daxmap_virtiofs::{Cache, FileServer, GuestSlice, Options, Owner};
use guest::{Asked, Guest};
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tree::{Tree, descriptors};

const WINDOW: u64 = 16 * 4096;
const MOST_OPEN: u64 = 64;

/// What is open is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |value| value.parse().unwrap())
}

fn requests() -> u64 {
    from_environment("FUZZ_REQUESTS", 20_000)
}

/// A server of the tree's share, with a mapper of its own.
struct Served {
    server: FileServer,
    mapper: Arc<Mapper>,
    window: HostWindowBackend,
}

impl Served {
    fn new(tree: &Tree, readonly: bool, owner: Owner) -> Self {
        let window = HostWindowBackend::new().unwrap();
        let options = MapperOptions { readonly, ..MapperOptions::default() };
        let mapper = Mapper::new(GuestAddress(0), WINDOW, options, |range| window.attach(range)).unwrap();
        let mapper = Arc::new(mapper);
        let options = Options { readonly, dax: Policy::Always, owner, cache: Cache::Auto, max_open: Some(MOST_OPEN) };
        let server = FileServer::new(&tree.share(), Some(Arc::clone(&mapper)), &options).unwrap();
        Self { server, mapper, window }
    }

    /// Sends a request, in pieces or whole; holds the reply to the rules.
    fn send(&self, guest: &mut Guest, asked: &Asked) -> Vec<u8> {
        if guest.random.one_in(4) {
            return self.send_in_pieces(guest, asked);
        }
        self.server.answer(&asked.bytes).unwrap_or_default()
    }

    fn send_in_pieces(&self, guest: &mut Guest, asked: &Asked) -> Vec<u8> {
        let mut reply = vec![0xee; guest.random.pick(&[0, 15, 16, 17, 100, 4096, 70_000, 100_000])];
        let room = reply.len();
        let cells = Cell::from_mut(&mut reply[..]).as_slice_of_cells();
        let size = guest.random.pick(&[1, 7, 16, 40, 81, 5000]);
        let readable: Vec<_> = asked.bytes.chunks(size).map(GuestSlice::readable).collect();
        let writable: Vec<_> = cells.chunks(size * 7).map(GuestSlice::writable).collect();
        let used = self.server.answer_into(&readable, &writable);
        assert!(used <= room, "{used} bytes of {room}");
        assert!(used == 0 || used >= 16, "{used} bytes are no reply");
        reply.truncate(used);
        reply
    }

    fn close(self) {
        drop(self.server);
        self.mapper.drain_all().unwrap();
        drop(self.mapper);
        self.window.release().unwrap();
    }
}

fn check(asked: &Asked, reply: &[u8]) {
    if reply.is_empty() {
        return;
    }
    assert!(!matches!(asked.opcode, 2 | 36 | 41 | 42), "opcode {} has no reply", asked.opcode);
    verify(asked.unique, reply).unwrap_or_else(|error| panic!("opcode {}: {error}", asked.opcode));
}

/// Has one guest send so many requests.
fn attack(tree: &Tree, served: &Served, seed: u64, requests: u64, host_too: bool) {
    let mut guest = Guest::new(seed);
    let before = descriptors();
    for sent in 0..requests {
        let asked = guest.ask();
        let reply = served.send(&mut guest, &asked);
        check(&asked, &reply);
        guest.hear(&asked, &reply);
        if host_too && sent % 5000 == 4999 {
            assert!(descriptors() <= before + MOST_OPEN as usize + 8, "{} descriptors", descriptors());
            tree.refill();
        }
    }
}

fn forget_all(served: &Served) {
    let reply = served.server.answer(&destroy()).unwrap();
    assert_eq!(reply[4..8], [0; 4]);
    assert_eq!(served.server.known_inodes(), 0);
}

fn destroy() -> Vec<u8> {
    let mut request = [40_u32, 38, 9, 0].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    request.resize(40, 0);
    request
}

fn of_one_guest(name: &str, owner: Owner) {
    let _alone = alone();
    let tree = Tree::new(name);
    let outside = tree.audit();
    Served::new(&tree, false, Owner::Host).close(); // what is opened once for the process
    let first = descriptors();
    let served = Served::new(&tree, false, owner);
    attack(&tree, &served, from_environment("FUZZ_SEED", 1), requests(), true);
    assert_eq!(tree.audit(), outside);
    forget_all(&served);
    served.close();
    assert_eq!(descriptors(), first);
}

#[test]
fn any_requests_get_well_formed_replies_and_reach_nothing_outside() {
    of_one_guest("host", Owner::Host);
}

#[test]
fn the_same_holds_where_files_are_the_guests_users() {
    if rustix::process::geteuid().is_root() {
        of_one_guest("guest", Owner::Guest);
    }
}

#[test]
fn any_requests_change_nothing_of_a_read_only_share() {
    let _alone = alone();
    let tree = Tree::new("readonly");
    let (outside, inside) = (tree.audit(), tree.audit_share());
    let served = Served::new(&tree, true, Owner::Host);
    attack(&tree, &served, from_environment("FUZZ_SEED", 1), requests(), false);
    assert_eq!((tree.audit(), tree.audit_share()), (outside, inside));
    forget_all(&served);
    served.close();
}

#[test]
fn guests_in_many_threads_leave_no_descriptor_open() {
    let _alone = alone();
    let tree = Tree::new("threads");
    let outside = tree.audit();
    Served::new(&tree, false, Owner::Host).close(); // what is opened once for the process
    let first = descriptors();
    let served = Served::new(&tree, false, Owner::Host);
    let seed = from_environment("FUZZ_SEED", 1);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (tree, served) = (&tree, &served);
            scope.spawn(move || attack(tree, served, seed + thread, requests() / 8, false));
        }
    });
    assert_eq!(tree.audit(), outside);
    forget_all(&served);
    served.close();
    assert_eq!(descriptors(), first);
}
