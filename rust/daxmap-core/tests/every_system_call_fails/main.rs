//! Every system call of a change in a host window fails, alone, with any other, and with all that follow: book, kernel, KVM,
//! budget and descriptors agree, and the window can be used on, or is given up. `-- --nocapture` says how many calls there are.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(sanitized)))]
#![deny(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::print_stdout, missing_docs)]

mod model;
mod sys;
mod vm;
mod world;

use daxmap_core::DAX_RANGE;
use model::files::File;
use model::requests::{Request, pages, setup};
use sys::Plan;
use vm::Vm;
use world::World;

const ERRNOS: [i32; 6] = [libc::EAGAIN, libc::ENOMEM, libc::EIO, libc::EMFILE, libc::EINTR, libc::ENODEV];

/// What is live before, and the request.
type Scenario = (Vec<Request>, Request);

fn scenarios() -> Vec<Scenario> {
    let none = Vec::new;
    let one = || vec![setup(0, 0, (2, 6), true)];
    let readable = || vec![setup(1, 0, (2, 6), false)];
    let three = || vec![setup(0, 0, (0, 3), false), setup(2, 1, (3, 3), false), setup(0, 5, (7, 3), true)];
    let range = DAX_RANGE / daxmap_core::page_size();
    vec![
        (none(), setup(0, 0, (2, 3), true)),
        (none(), setup(1, 0, (0, range), false)),
        (one(), setup(0, 0, (20, 1), true)),     // a file that was mapped before
        (one(), setup(2, 0, (2, 6), false)),     // all of it
        (one(), setup(2, 0, (4, 2), false)),     // in the middle
        (three(), setup(2, 9, (1, 7), true)),    // the middle one, and a part of the others
        (readable(), setup(0, 0, (2, 6), true)), // an upgrade
        (readable(), setup(1, 0, (2, 6), true)), // one that is refused
        (one(), Request::Remove(pages((2, 6)))),
        (one(), Request::RemoveRange(pages((4, 1)))),
        (three(), Request::RemoveRanges(vec![pages((0, 2)), pages((5, 4))])),
        (three(), Request::RemoveBatch(vec![pages((0, 3)), pages((3, 3)), pages((3, 3))])),
        (three(), Request::RemoveAll),
        (three(), Request::Refresh(0)),
        (three(), Request::Reset),
        (three(), Request::Drain),
        (one(), Request::Read(pages((3, 1)))),
        (one(), Request::Write(pages((3, 1)))),
    ]
}

/// Has `play` play a plan for each call, and each two; it says how many calls there were. How many plans there were.
fn each_call_and_each_two(mut play: impl FnMut(Plan) -> usize) -> usize {
    let calls = play(Plan::default());
    let mut played = 1;
    let mut play = |plan: Plan| {
        played += 2;
        play(Plan { leaves_gaps: true, ..plan });
        play(plan)
    };
    for first in 0..calls {
        let once = |errno| Plan { first: Some((first, errno)), ..Plan::default() };
        let made = ERRNOS.map(|errno| play(once(errno)))[0];
        for errno in [libc::ENOMEM, libc::EINTR] {
            play(Plan { goes_on: true, ..once(errno) }); // who makes a call again would do so for ever
            for second in first + 1..made {
                play(Plan { second: Some((second, ERRNOS[second % ERRNOS.len()])), ..once(errno) });
            }
        }
    }
    played
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// One test: the budget is the process's.
#[test]
fn any_calls_of_a_window() {
    if !sys::can_be_had() {
        return;
    }
    any_calls(None);
    match Vm::new() {
        Ok(vm) => any_calls(Some(&vm)),
        Err(why) => sys::skip(&format!("no call of KVM's fails: /dev/kvm: {why}")),
    }
}

fn any_calls(vm: Option<&Vm>) {
    let files: Vec<File> = [File::pair(DAX_RANGE), File::pair(DAX_RANGE)].into_iter().flatten().collect();
    let world = || World::new(&files, vm, Plan::default()).0.unwrap();
    let next = setup(2, 0, (30, 1), false);
    world().end(&next, Plan::default()); // what is opened once for the process
    let open = descriptors();
    let played = each_call_and_each_two(|plan| {
        let (made, calls) = World::new(&files, vm, plan);
        if let Ok(world) = made {
            world.end(&next, Plan::default());
        }
        assert_eq!(descriptors(), open, "{plan:?}");
        calls.len()
    });
    println!("{vm:?}: a new window: {played} plans");
    let played = each_call_and_each_two(|plan| world().end(&next, plan).len());
    println!("a window that is freed: {played} plans");
    for (before, request) in scenarios() {
        let mut calls = Vec::new();
        let played = each_call_and_each_two(|plan| {
            let mut world = world();
            for request in &before {
                world.make(request, Plan::default());
            }
            let made = world.make(&request, plan);
            world.end(&next, Plan::default());
            assert_eq!(descriptors(), open, "{request:?}, {plan:?}");
            if plan.first.is_none() {
                calls.clone_from(&made);
            }
            made.len()
        });
        println!("{request:x?}: calls {calls:?}, {played} plans");
    }
}
