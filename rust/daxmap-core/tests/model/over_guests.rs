//! Over guests that take one range at a time, and may fail at every call: random requests, random faults.

use crate::guest::Fault;
use crate::random_requests::{Step, steps};
use crate::requests::Request;
use crate::world::{ENDS, End, Kind, PAGES, Through, World};
use daxmap_core::page_size;
use proptest::prelude::*;
use proptest::sample::select;

type Steps = Vec<(Step, Vec<Fault>)>;

/// What comes of the next calls; those after that succeed.
fn plans() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        2 => Just(Fault::Refused),
        1 => Just(Fault::InDoubtUndone),
        1 => Just(Fault::InDoubtDone),
    ];
    prop_oneof![1 => Just(Vec::new()), 1 => prop::collection::vec(fault, 1..8)]
}

fn walk() -> impl Strategy<Value = Steps> {
    let page = page_size();
    let offsets = (0..PAGES).map(|number| number * page).collect();
    let lengths = [1, 1, 2, 3, 4, 7].map(|pages| pages * page).to_vec();
    prop::collection::vec((steps(offsets, lengths, World::FILES), plans()), 1..30)
}

fn kind(through: Through) -> impl Strategy<Value = Kind> {
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(move |(strict, can_protect, readonly)| Kind {
        through,
        strict,
        can_protect,
        readonly,
    })
}

fn run(kind: Kind, steps: Steps, end: End) {
    let mut world = World::new(kind);
    for (step, plan) in steps {
        let request = step.resolve(&world.naive);
        if !matches!(request, Request::Read(..) | Request::Write(..)) {
            world.make(&request, plan); // which pages lie past the end of a file is not the model's to know
        }
    }
    world.end(end);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hypervisor_process_and_model_agree_whatever_fails(
        kind in kind(Through::Memory), steps in walk(), end in select(&ENDS[..])
    ) {
        run(kind, steps, end);
    }

    #[test]
    fn own_backend_and_model_agree_whatever_fails(kind in kind(Through::Descriptors), steps in walk(), end in select(&ENDS[..])) {
        run(kind, steps, end);
    }
}
