//! Every system call that the file server makes for a request fails, alone, with any other, and with all that follow: the
//! reply is well-formed, the share is as before or as it is when all goes well, nothing is left open, no thread is left as
//! another user, and the server works on. `-- --nocapture` says which calls each request makes.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(sanitized)))]
#![deny(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::wildcard_imports,
    missing_docs
)]

#[path = "../client/mod.rs"]
mod client;
mod guest;
mod names;
mod normal;
mod process;
#[path = "../../../daxmap-core/tests/every_system_call_fails/sys.rs"]
mod sys;
mod threads;
mod tree;
mod world;

use client::Request;
use daxmap_virtiofs::{Cache, Owner};
use names::named;
use normal::Normal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use sys::Plan;
use world::{Kind, World};

const ERRNOS: [i32; 6] = [libc::EIO, libc::ENOMEM, libc::EMFILE, libc::ENOSPC, libc::EINTR, libc::EAGAIN];

/// What is open is counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a request whose calls fail as planned, and holds what comes of it to what else would. How many calls it made.
fn play(kind: Kind, (name, request): &(&str, Request), plan: Plan, normal: &Normal, faults: &mut Vec<String>) -> usize {
    let world = World::new(kind);
    let (reply, calls) = world.ask(request, plan);
    let mut wrong = normal.faults(request, &reply, &world);
    wrong.extend(world.faults());
    wrong.extend(world.end());
    for fault in wrong {
        let calls = named(&calls);
        faults.push(format!("{name}, {kind:?}, {plan:?}: errno {}, calls: {calls}:\n    {fault}", reply.errno));
    }
    calls.len()
}

/// How many plans were tried for all requests.
fn each_call_and_each_two(kind: Kind) -> usize {
    let tries_all = kind.owner == Owner::Host && !kind.cold; // one after the other; elsewhere two of them, by turns
    let mut faults = Vec::new();
    let mut tried = 0;
    let world = World::new(kind);
    let requests = world.known.requests(); // the same for every guest that knows the same
    world.end();
    for request in &requests {
        let world = World::new(kind);
        let before = world.state();
        let (reply, calls) = world.ask(&request.1, Plan::default());
        let (after, found) = (world.state(), [vec![0; 6], world.found()]);
        let normal = Normal { before, after, found, reply };
        world.end();
        let tried_before = tried;
        let mut play = |plan| {
            tried += 1;
            play(kind, request, plan, &normal, &mut faults)
        };
        for first in 0..calls.len() {
            let [errno, other] = [0, 1].map(|skip| ERRNOS[(first + skip) % ERRNOS.len()]);
            let once = |errno| Plan { first: Some((first, errno)), ..Plan::default() };
            let made = play(once(errno));
            ERRNOS
                .iter()
                .filter(|all| **all != errno && (tries_all || **all == other))
                .for_each(|errno| _ = play(once(*errno)));
            // Who makes a call again that was interrupted would do so for ever.
            for errno in [errno, libc::EINTR] {
                play(Plan { goes_on: true, ..once(errno) });
            }
            for second in first + 1..made {
                play(Plan { second: Some((second, ERRNOS[second % ERRNOS.len()])), ..once(errno) });
            }
        }
        let (name, errno) = (request.0, normal.reply.errno);
        println!("| {name} | {errno} | {} | {} |", named(&calls), tried - tried_before);
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    tried
}

fn each_call_and_each_two_of_a_start(kind: Kind) {
    let (calls, mut faults) = world::start(kind, Plan::default());
    println!("| start | | {} | |", named(&calls));
    let mut start = |plan: Plan| {
        let (calls, wrong) = world::start(kind, plan);
        faults.extend(wrong.iter().map(|fault| format!("start, {kind:?}, {plan:?}: {}: {fault}", named(&calls))));
        calls.len()
    };
    for first in 0..calls.len() {
        let once = Plan { first: Some((first, ERRNOS[first % ERRNOS.len()])), ..Plan::default() };
        let made = start(once);
        start(Plan { goes_on: true, ..once });
        for second in first + 1..made {
            start(Plan { second: Some((second, ERRNOS[second % ERRNOS.len()])), ..once });
        }
    }
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

fn run(kind: Kind) {
    let _alone = alone();
    if !sys::can_be_had() {
        return;
    }
    World::new(kind).end(); // what is opened once for the process
    each_call_and_each_two_of_a_start(kind);
    println!("{kind:?}");
    println!("{} combinations", each_call_and_each_two(kind));
}

#[test]
fn any_calls_of_a_server_that_has_all_inodes_open() {
    run(Kind { owner: Owner::Host, cache: Cache::Always, cold: false });
}

#[test]
fn any_calls_of_a_server_that_has_to_find_inodes_again() {
    run(Kind { owner: Owner::Host, cache: Cache::Never, cold: true });
}

#[test]
fn any_calls_of_a_server_whose_files_are_the_guests_users() {
    if rustix::process::geteuid().is_root() {
        run(Kind { owner: Owner::Guest, cache: Cache::Never, cold: false });
    } else {
        sys::skip("no system call fails where files are the guest's users': that takes root");
    }
}
