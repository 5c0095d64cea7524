//! Random requests of every opcode, from one guest and from many at once: each gets a well-formed reply or none, nothing
//! outside the share is touched, and no descriptor is left open.
//!
//! `FUZZ_REQUESTS=10000000 cargo test --release -p daxmap-virtiofs --test fuzz` sends that many requests in each test,
//! from `FUZZ_SEED` on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::cast_possible_truncation, missing_docs)]

mod guest;
mod random;
mod served;
mod tree;

use daxmap_virtiofs::Owner;
use guest::Guest;
use random::Random;
use served::{MOST_OPEN, Served};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use tree::{Tree, descriptors};

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

/// Has one guest send so many requests.
fn attack(tree: &Tree, served: &Served, seed: u64, requests: u64, host_too: bool) {
    let mut guest = Guest::new(Random::new(seed));
    let before = descriptors();
    for sent in 0..requests {
        let asked = guest.ask();
        let reply = served.send(&mut guest, &asked);
        guest.hear(&asked, &reply);
        if host_too && sent % 5000 == 4999 {
            assert!(descriptors() <= before + MOST_OPEN as usize + 8, "{} descriptors", descriptors());
            tree.refill();
        }
    }
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
    served.forget_all();
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
    served.forget_all();
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
    served.forget_all();
    served.close();
    assert_eq!(descriptors(), first);
}
