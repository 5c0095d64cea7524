//! What the host has of each mapping.

use crate::fixture::{Numbered, end, mapper};
use daxmap_core::{Options, page_size};

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
