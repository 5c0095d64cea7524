//! Over a backend that can fail in every way the trait allows, at every call.

use crate::attempts::{Attempts, Verdict};
use crate::budget::Alone;
use crate::files::File;
use crate::naive::Naive;
use crate::recorder::{Book, MAPPING_VMAS, Recorder, WINDOW_VMAS};
use crate::requests::{BASE, Step, steps};
use daxmap_core::{GuestAddress, Mapper, Options, page_size};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const PAGES: u64 = 10;

#[derive(Clone, Debug)]
struct Case {
    options: Options,
    unmaps_many: bool,
    steps: Vec<(Step, Vec<Verdict>)>,
}

fn case() -> impl Strategy<Value = Case> {
    let page = page_size();
    let offsets = (0..=PAGES).map(|number| number * page).chain([1, u64::MAX - page + 1]).collect();
    let lengths = [1, 1, 1, 2, 2, 3].map(|pages| pages * page).into_iter().chain([0, 512]).collect();
    let failure = prop_oneof![
        6 => Just(Verdict::Refused(libc::ENXIO)),
        2 => Just(Verdict::Emptied(libc::ENXIO)),
        1 => Just(Verdict::GaveUp),
        6 => Just(Verdict::Done),
    ];
    let plan = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(failure, 1..5)];
    let limit = prop::option::weighted(0.2, 1..4u64);
    let options = (prop::bool::weighted(0.1), limit).prop_map(|(readonly, max_mappings)| Options {
        readonly,
        max_mappings,
        ..Options::default()
    });
    let steps = prop::collection::vec((steps(offsets, lengths, 4), plan), 1..40);
    (options, any::<bool>(), steps).prop_map(|(options, unmaps_many, steps)| Case { options, unmaps_many, steps })
}

fn open(case: &Case) -> (Mapper, Arc<Mutex<Book>>) {
    let mut book = None;
    let size = PAGES * page_size();
    let mapper = Mapper::new(GuestAddress(BASE), size, case.options, |window| {
        let (recorder, its_book) = Recorder::new(window, case.unmaps_many);
        book = Some(its_book);
        Ok(Box::new(recorder))
    });
    (mapper.unwrap(), book.unwrap())
}

fn check(mapper: &Mapper, book: &Book, naive: &Naive, budget: &Alone) {
    naive.agrees_with(mapper);
    assert_eq!(book.closed, naive.closed);
    let leaked = naive.stats.leaked_count;
    if naive.closed {
        assert_eq!(budget.charged(), MAPPING_VMAS * leaked);
    } else {
        assert!(book.shown.values().eq(&mapper.mappings().unwrap()), "mapper and backend disagree");
        assert_eq!(budget.charged(), WINDOW_VMAS + MAPPING_VMAS * naive.live.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mapper_backend_and_model_agree_whatever_fails(case in case()) {
        let budget = Alone::new();
        let files: Vec<File> = [File::pair(0), File::pair(0)].into_iter().flatten().collect();
        let (mapper, book) = open(&case);
        let mut naive = Naive::new(&mapper, files.iter().map(|file| file.id).collect(), case.options.max_mappings);
        for (step, plan) in case.steps {
            let request = step.resolve(&naive);
            book.lock().unwrap().plan = plan.into();
            let answer = request.make(&mapper, &files);
            let mut book = book.lock().unwrap();
            book.plan.clear();
            let mut attempts: Attempts = std::mem::take(&mut book.attempts);
            prop_assert_eq!(answer, naive.answer(&request, &mut attempts), "{:?}", request);
            check(&mapper, &book, &naive, &budget);
        }
        drop(mapper);
        let book = book.lock().unwrap();
        prop_assert!(book.closed && (naive.closed || book.shown.is_empty()));
    }
}
