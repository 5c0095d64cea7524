//! Host memory that a hypervisor shows: where it lies, and how long it is kept.

use crate::fixture::{BASE, Numbered, address};
use daxmap_core::{
    Access, GuestAddress, HostSlice, Hypervisor, HypervisorBackend, Mapper, Options, Refusal, page_size,
};

#[derive(Debug)]
struct Nobody;

impl Hypervisor for Nobody {
    fn map(&mut self, _: HostSlice<'_>, _: GuestAddress, _: Access) -> Result<(), Refusal> {
        Ok(())
    }

    fn unmap(&mut self, _: GuestAddress, _: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn protect(&mut self, _: GuestAddress, _: u64, _: Access) -> Option<Result<(), Refusal>> {
        None
    }
}

/// Whether this process has a mapping of the file at `host_address`.
fn is_mapped(file: &Numbered, host_address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let (start, path) = (format!("{host_address:x}-"), file.path.to_str().unwrap());
    maps.lines().any(|vma| vma.starts_with(&start) && vma.ends_with(path))
}

fn mapper() -> Mapper {
    let over = |window: &_| Ok(Box::new(HypervisorBackend::over(Nobody, window, false)) as _);
    Mapper::new(GuestAddress(BASE), 16 * page_size(), Options::default(), over).unwrap()
}

#[test]
fn what_is_lent_is_kept_until_it_is_given_back() {
    let (mapper, file) = (mapper(), Numbered::new(2 * page_size()));
    file.show(&mapper, 0, 3, 2, true);
    mapper.write(address(3, 5), b"x").unwrap();
    assert_eq!(mapper.read(address(3, 4), 3).unwrap(), [0, b'x', 0]);
    let loan = mapper.resolve(address(4, 0), 10, true).unwrap();
    assert_eq!(loan.pieces().len(), 1);
    let start = loan.pieces()[0].host_address - usize::try_from(page_size()).unwrap();
    mapper.drain_all().unwrap();
    assert!(is_mapped(&file, start));
    drop(loan);
    assert!(!is_mapped(&file, start));
}

#[test]
fn all_mappings_of_a_loan_are_kept_and_no_others() {
    let (mapper, files) = (mapper(), [0; 4].map(|_| Numbered::new(page_size())));
    let start = |page: u64| mapper.resolve(address(page, 0), 1, false).unwrap().pieces()[0].host_address;
    let starts: Vec<usize> = (0..)
        .zip(&files)
        .map(|(page, file)| {
            file.show(&mapper, 0, page, 1, false);
            start(page)
        })
        .collect();
    let loan = mapper.resolve(address(1, 0), page_size() + 1, false).unwrap();
    mapper.reset().unwrap();
    let kept = || files.iter().zip(&starts).map(|(file, start)| is_mapped(file, *start)).collect::<Vec<_>>();
    assert_eq!(kept(), [false, true, true, false]);
    drop(loan);
    assert_eq!(kept(), [false; 4]);
}
