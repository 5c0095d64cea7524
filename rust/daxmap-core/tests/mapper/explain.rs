//! `Mapper::explain`: the words for each thing that a guest may find.

use crate::fixture::{BASE, Numbered, address, end, mapper};
use crate::told;
use daxmap_core::{GuestAddress, Options, page_size};

#[test]
fn outside_the_window() {
    let case = mapper(Options::default());
    let (mapper, page) = (&case.0, page_size());
    let (base, last) = (GuestAddress(BASE), GuestAddress(BASE + 16 * page - 1));
    let outside = |address: GuestAddress| format!("{address} is outside the window, which is {base} to {last}");
    for (address, hint) in [
        (GuestAddress(page), format!("; a window offset of {page:#x} is at {:#x}", BASE + page)),
        (GuestAddress(16 * page - 1), format!("; a window offset of {:#x} is at {last}", 16 * page - 1)),
        (GuestAddress(16 * page), String::new()),
        (GuestAddress(BASE - 1), String::new()),
        (GuestAddress(BASE + 16 * page), String::new()),
    ] {
        assert_eq!(mapper.explain(address).unwrap(), outside(address) + &hint);
    }
    assert!(!mapper.explain(last).unwrap().contains("outside"));
    end(case);
}

#[test]
fn a_hole_and_its_neighbours() {
    let case = mapper(Options::default());
    let (mapper, file, page) = (&case.0, Numbered::new(page_size()), page_size());
    let hole = |at: u64| {
        let told = mapper.explain(address(at, 5)).unwrap();
        let (hole, around) = told.split_once(": ").unwrap();
        assert_eq!(hole, format!("{} is a hole at window offset {:#x}", address(at, 5), at * page + 5));
        around.to_owned()
    };
    assert_eq!(hole(3), "nothing is mapped in the window");
    let span = |at: u64| format!("[{:#x}, {:#x})", at * page, (at + 1) * page);
    for at in [2, 4, 6, 8] {
        file.show(mapper, 0, at, 1, false);
    }
    assert_eq!(hole(1), format!("no mapping is before it, the next is {}", span(2)));
    assert_eq!(hole(5), format!("the mapping before it is {}, the next is {}", span(4), span(6)));
    assert_eq!(hole(9), format!("the mapping before it is {}, none is after it", span(8)));
    end(case);
}

#[test]
fn a_page_of_a_file() {
    let case = mapper(Options::default());
    let (mapper, file, page) = (&case.0, Numbered::new(2 * page_size()), page_size());
    file.show(mapper, 1, 2, 2, false);
    file.show(mapper, 0, 8, 1, true);
    let told = |at: u64, byte: u64| {
        let told = mapper.explain(address(at, byte)).unwrap();
        told.strip_prefix(&format!("{} is byte ", address(at, byte))).unwrap().to_owned()
    };
    let name = file.path.to_str().unwrap();
    let first = told(2, 7);
    assert!(first.starts_with(&format!("{:#x} of {name} (st_dev ", page + 7)), "{first}");
    let ending = format!("read-only mapping [{:#x}, {:#x}): loads reach it, stores are refused", 2 * page, 4 * page);
    assert!(first.ends_with(&ending), "{first}");
    let past = told(3, 0);
    let ending = format!("no access reaches it, it lies past the end of its file, which has {} bytes", 2 * page);
    assert!(past.starts_with(&format!("{:#x} of ", 2 * page)) && past.ends_with(&ending), "{past}");
    let writable = told(8, page - 1);
    assert!(writable.starts_with(&format!("{:#x} of ", page - 1)), "{writable}");
    assert!(writable.contains(", writable mapping ") && writable.ends_with(": loads and stores reach it"));
    let loan = mapper.resolve(address(8, 0), 1, true).unwrap();
    assert!(told(8, 0).ends_with(": loads and stores reach it; it is lent to a device"));
    assert!(!told(2, 0).contains("lent"));
    mapper.reset().unwrap();
    assert!(mapper.explain(address(8, 0)).unwrap().ends_with("; what was here is still lent to a device"));
    assert!(!mapper.explain(address(2, 0)).unwrap().contains("lent"));
    drop(loan);
    mapper.drain_all().unwrap();
    assert!(mapper.explain(address(8, 0)).unwrap().ends_with("whose mapper is closed: nothing is shown there"));
    end(case);
}

#[test]
fn a_page_that_the_host_cannot_look_at() {
    let (mapper, told) = told::mapper("", Options::default());
    Numbered::new(page_size()).show(&mapper, 0, 0, 1, false);
    let ending = |errno: i32| {
        told.0.lock().unwrap().copy = errno;
        mapper.explain(address(0, 0)).unwrap().rsplit_once("): ").unwrap().1.to_owned()
    };
    assert_eq!(ending(0), "loads reach it, stores are refused");
    assert_eq!(ending(libc::ENOTSUP), "what its page holds is known to the VMM alone, which maps it");
    assert!(ending(libc::EPERM).starts_with("whether the host has its page can't be told: "));
    let unknown = ending(libc::EFAULT);
    assert!(unknown.starts_with("no access reaches it, either it lies past the end of its file, or "), "{unknown}");
    mapper.drain_all().unwrap();
}
