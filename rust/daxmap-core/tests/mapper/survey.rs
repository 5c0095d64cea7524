//! What the host has of each mapping.

use crate::fixture::{Numbered, end, mapper};
use daxmap_core::{Options, WindowOffset, page_size};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

#[test]
fn each_mapping_has_its_file_and_what_is_resident() {
    let case = mapper(Options::default());
    let (mapper, page) = (&case.0, page_size());
    let (file, other) = (Numbered::new(2 * page + 1), Numbered::new(page));
    file.show(mapper, 0, 1, 4, false);
    other.show(mapper, 0, 8, 1, true);
    other.file.set_len(0).unwrap();
    let surveyed = mapper.survey().unwrap();
    assert_eq!(surveyed.iter().map(|of| of.mapping).collect::<Vec<_>>(), mapper.mappings().unwrap());
    let path = |index: usize| surveyed[index].path.as_ref().unwrap().to_str().unwrap();
    assert_eq!([path(0), path(1)], [file.path.to_str().unwrap(), other.path.to_str().unwrap()]);
    assert_eq!((surveyed[0].file_size, &surveyed[0].resident), (Some(2 * page + 1), &vec![3 * page]));
    assert_eq!((surveyed[1].file_size, &surveyed[1].resident), (Some(0), &vec![0]));
    mapper.drain_all().unwrap();
    assert!(mapper.survey().unwrap().is_empty());
    end(case);
}

#[test]
fn what_others_remove_meanwhile_is_left_out() {
    let case = mapper(Options::default());
    let (mapper, file, page) = (&case.0, Numbered::new(page_size()), page_size());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                (0..4).for_each(|at| file.show(mapper, 0, at, 1, false));
                (0..4).for_each(|at| mapper.remove(WindowOffset(at * page), page).unwrap());
            }
            done.store(true, SeqCst);
        });
        while !done.load(SeqCst) {
            for of in mapper.survey().unwrap() {
                assert!(of.path.is_some(), "{} was a hole when it was looked at", of.mapping.span);
            }
        }
    });
    end(case);
}
