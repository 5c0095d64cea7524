//! Over a backend that can fail in every way the trait allows, at every call.

use crate::budget::Alone;
use crate::files::File;
use crate::naive::Naive;
use crate::random_requests::{Step, steps};
use crate::recorder::{Book, Kind, MAPPING_VMAS, Recorder, Verdict, WINDOW_VMAS};
use crate::requests::{BASE, Request, pages, setup};
use daxmap_core::{GuestAddress, Mapper, Options, page_size};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const PAGES: u64 = 10;

#[derive(Clone, Debug)]
struct Case {
    options: Options,
    kind: Kind,
    steps: Vec<(Step, Vec<Verdict>)>,
}

fn case() -> impl Strategy<Value = Case> {
    let page = page_size();
    let offsets = (0..=PAGES).map(|number| number * page).chain([1, u64::MAX - page + 1]).collect();
    let lengths = [1, 1, 2, 3, 4, 7].map(|pages| pages * page).into_iter().chain([0, 512]).collect();
    let lost = (prop_oneof![Just(0), any::<u8>()], any::<bool>());
    let verdict = prop_oneof![
        6 => Just(Verdict::Unchanged),
        4 => lost.prop_map(|(whole, new_is_unknown)| Verdict::Lost { whole, new_is_unknown }),
        1 => Just(Verdict::OutOfControl),
        6 => Just(Verdict::Done),
    ];
    let plan = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(verdict, 1..5)];
    let limit = prop::option::weighted(0.3, 1..4u64);
    let options = (prop::bool::weighted(0.1), limit).prop_map(|(readonly, max_mappings)| Options {
        readonly,
        max_mappings,
        ..Options::default()
    });
    let kind = (any::<bool>(), any::<bool>()).prop_map(|(at_once, closing_frees)| Kind { at_once, closing_frees });
    let steps = prop::collection::vec((steps(offsets, lengths, 4), plan.clone()), 1..40);
    (options, kind, steps, plan).prop_map(|(options, kind, mut steps, last)| {
        steps.push((Step::Make(Request::Drain), last));
        Case { options, kind, steps }
    })
}

fn open(options: Options, kind: Kind) -> (Mapper, Arc<Mutex<Book>>) {
    let mut book = None;
    let mapper = Mapper::new(GuestAddress(BASE), PAGES * page_size(), options, |window| {
        let (recorder, its_book) = Recorder::new(window, kind);
        book = Some(its_book);
        Ok(Box::new(recorder))
    });
    (mapper.unwrap(), book.unwrap())
}

fn check(mapper: &Mapper, book: &Book, kind: Kind, budget: &Alone) {
    let stats = mapper.stats();
    let held = (book.shown.len() + book.unknown.len()) as u64;
    let charged = WINDOW_VMAS + MAPPING_VMAS * held;
    assert_eq!(stats.lost_count, book.lost);
    assert_eq!(book.closed, mapper.is_closed());
    if !book.closed {
        assert_eq!(mapper.mappings().unwrap(), book.shown, "mapper and backend disagree");
        assert_eq!(budget.charged(), charged);
    } else if kind.closing_frees {
        assert_eq!((stats.leaked_count, budget.charged()), (0, 0));
    } else {
        assert_eq!(stats.leaked_count, book.shown.len() as u64);
        assert_eq!(budget.charged(), if held == 0 { 0 } else { charged });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mapper_backend_and_model_agree_whatever_fails(case in case()) {
        let budget = Alone::new();
        let files: Vec<File> = [File::pair(0), File::pair(0)].into_iter().flatten().collect();
        let (mapper, book) = open(case.options, case.kind);
        let kind = case.kind;
        let any_access = files.iter().map(|file| (file.id, true)).collect();
        let mut drained = false;
        let mut naive = Naive::new(&mapper, any_access, case.options.max_mappings, kind.at_once);
        for (step, plan) in case.steps {
            let request = step.resolve(&naive);
            // A range that is unknown counts against the limit, unless the request settles it.
            let fuzzy = naive.is_limited() && !naive.closed && !book.lock().unwrap().unknown.is_empty();
            book.lock().unwrap().plan = plan.into();
            let answer = request.make(&mapper, &files);
            let mut book = book.lock().unwrap();
            book.plan.clear();
            let failed = std::mem::take(&mut book.failed);
            naive.check(&request, &answer, &mapper, failed || fuzzy);
            drained |= matches!(request, Request::Drain);
            prop_assert_eq!(mapper.is_closed(), drained || book.out_of_control.is_some());
            check(&mapper, &book, kind, &budget);
        }
        drop(mapper);
        let mut book = book.lock().unwrap();
        prop_assert!(book.closed && (naive.closed || book.shown.is_empty()));
        book.kept = None; // a window that is released gives its budget back
        prop_assert_eq!(budget.charged(), 0);
    }
}

#[test]
fn what_a_batch_lost_it_did_not_remove() {
    let _budget = Alone::new();
    let lost = Verdict::Lost { whole: 0b11, new_is_unknown: false };
    for (verdict, removed) in [(lost, 0), (Verdict::OutOfControl, 0), (Verdict::Unchanged, 2)] {
        let files = File::pair(0);
        let (mapper, book) = open(Options::default(), Kind { at_once: true, closing_frees: true });
        let ranges = [(0, 1), (5, 2)].map(pages);
        for (start, length) in [(0, 1), (5, 2)] {
            assert_eq!(setup(0, 0, (start, length), true).make(&mapper, &files).errno, 0);
        }
        book.lock().unwrap().plan = [verdict].into();
        let answer = Request::RemoveBatch(ranges.to_vec()).make(&mapper, &files);
        assert_eq!((answer.count, mapper.stats().remove_count, mapper.live_mappings()), (removed, removed, 0));
        assert!(answer.failed.iter().all(|(_, errno)| *errno == libc::EIO));
    }
}

#[test]
fn a_batch_of_one_is_tried_once() {
    let _budget = Alone::new();
    let files = File::pair(0);
    let (mapper, book) = open(Options::default(), Kind { at_once: true, closing_frees: true });
    assert_eq!(setup(0, 0, (5, 2), true).make(&mapper, &files).errno, 0);
    book.lock().unwrap().plan = [Verdict::Unchanged].into();
    let answer = Request::RemoveBatch(vec![pages((5, 2))]).make(&mapper, &files);
    assert_eq!((answer.count, mapper.live_mappings()), (0, 1));
}
