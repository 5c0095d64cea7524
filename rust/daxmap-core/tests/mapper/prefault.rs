//! Which mappings are to have their pages brought in.

use crate::fixture::{Numbered, end, mapper};
use crate::told;
use daxmap_core::{Options, page_size};

#[test]
fn those_that_are_only_read_where_the_mapper_is_told_to() {
    for prefault in [false, true] {
        let (mapper, told) = told::mapper("", Options { prefault, ..Options::default() });
        let file = Numbered::new(page_size());
        file.show(&mapper, 0, 0, 1, false);
        file.show(&mapper, 0, 1, 1, true);
        assert_eq!(told.0.lock().unwrap().prefaulted, [prefault, false]);
        mapper.drain_all().unwrap();
    }
}

#[test]
fn a_host_window_brings_them_in() {
    for prefault in [false, true] {
        let case = mapper(Options { prefault, ..Options::default() });
        let (mapper, page) = (&case.0, page_size());
        let [read, written] = [0; 2].map(Numbered::new);
        for (file, at, writable) in [(&read, 0, false), (&written, 4, true)] {
            file.file.set_len(2 * page).unwrap();
            file.show(mapper, 0, at, 2, writable);
        }
        let resident = mapper.survey().unwrap().iter().map(|of| of.resident[0]).collect::<Vec<_>>();
        assert_eq!(resident, [if prefault { 2 * page } else { 0 }, 0]);
        end(case);
    }
}
