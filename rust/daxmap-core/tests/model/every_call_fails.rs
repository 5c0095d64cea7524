//! Every call of a change fails, in every way, alone and with any other: the calls of the way back too.

use crate::guest::{FAULTS, Fault};
use crate::requests::{Request, pages, setup};
use crate::world::{ENDS, Kind, Through, World};
use std::iter::repeat_n;

/// What is live before, and the request.
type Scenario = (Vec<Request>, Request);

fn one() -> Vec<Request> {
    vec![setup(0, 0, (2, 6), true)]
}

fn two() -> Vec<Request> {
    vec![setup(0, 0, (0, 4), true), setup(2, 1, (4, 4), false)]
}

fn three() -> Vec<Request> {
    vec![setup(0, 0, (0, 3), false), setup(2, 1, (3, 3), false), setup(0, 5, (7, 3), true)]
}

/// Where a guest that can protect makes other calls than one that can't.
fn changes_of_access() -> Vec<Scenario> {
    vec![
        (vec![setup(0, 0, (2, 3), false)], setup(0, 0, (2, 3), true)),
        (vec![setup(1, 0, (2, 3), false)], setup(0, 0, (2, 3), true)), // host memory is private
        (one(), setup(0, 0, (2, 6), false)),
    ]
}

fn other_changes() -> Vec<Scenario> {
    vec![
        (vec![], setup(0, 0, (2, 3), true)),
        (one(), setup(2, 0, (2, 6), false)),  // all of it
        (one(), setup(0, 3, (2, 6), true)),   // another offset
        (one(), setup(0, 0, (2, 6), true)),   // the same
        (one(), setup(2, 0, (4, 2), false)),  // in the middle
        (one(), setup(2, 0, (1, 2), false)),  // the first page
        (one(), setup(2, 0, (7, 2), false)),  // the last page
        (two(), setup(1, 9, (3, 2), false)),  // a page of each
        (two(), setup(0, 9, (0, 9), true)),   // both
        (three(), setup(0, 9, (1, 7), true)), // the middle one, and a part of the others
        (one(), Request::Remove(pages((2, 6)))),
        (one(), Request::RemoveRange(pages((4, 1)))),
        (two(), Request::RemoveRange(pages((2, 4)))),
        (three(), Request::RemoveAll),
        (three(), Request::RemoveRanges(vec![pages((0, 2)), pages((5, 4))])),
        (three(), Request::RemoveBatch(vec![pages((0, 3)), pages((3, 3)), pages((3, 3))])),
        (three(), Request::Refresh(0)),
        (three(), Request::Reset),
        (three(), Request::Drain),
    ]
}

/// Makes the request, whose calls fail as the plan says, and ends the case in one of the ways. Returns how many calls
/// the request made.
fn run(kind: Kind, (before, request): &Scenario, plan: Vec<Fault>, number: usize) -> usize {
    let mut world = World::new(kind);
    for request in before {
        assert_eq!(world.make(request, []).0.errno, 0);
    }
    // One failure has its way back, but where a strict guest can't be asked again for what it has done.
    let has_way_back = !kind.strict && plan.iter().filter(|fault| **fault != Fault::None).count() < 2;
    let (_, calls) = world.make(request, plan);
    assert!(!has_way_back || world.naive.stats.lost_count == 0, "lost by one failure: {request:?}");
    world.end(ENDS[number % ENDS.len()]);
    calls
}

/// A plan in which the call of this number fails, after those of `first`.
fn and_then(first: &[Fault], call: usize, fault: Fault) -> Vec<Fault> {
    let succeed = repeat_n(Fault::None, call - first.len());
    first.iter().copied().chain(succeed).chain([fault]).collect()
}

fn each_call_and_each_two(kind: Kind, scenarios: &[Scenario]) {
    let mut number = 0;
    for scenario in scenarios {
        let calls = run(kind, scenario, vec![], 0);
        for (first, fault) in (0..calls).flat_map(|call| FAULTS.map(|fault| (call, fault))) {
            let once = and_then(&[], first, fault);
            let calls = run(kind, scenario, once.clone(), number);
            for (second, fault) in (first + 1..calls).flat_map(|call| FAULTS.map(|fault| (call, fault))) {
                number += 1;
                run(kind, scenario, and_then(&once, second, fault), number);
            }
        }
    }
    assert!(number > 0, "no two calls failed");
}

fn each_kind(through: Through) {
    for strict in [false, true] {
        let kind = Kind { through, strict, can_protect: false, readonly: false };
        each_call_and_each_two(kind, &changes_of_access());
        each_call_and_each_two(kind, &other_changes());
        each_call_and_each_two(Kind { can_protect: true, ..kind }, &changes_of_access());
    }
}

#[test]
fn any_two_calls_of_a_hypervisor() {
    each_kind(Through::Memory);
}

#[test]
fn any_two_calls_of_an_own_backend() {
    each_kind(Through::Descriptors);
}
