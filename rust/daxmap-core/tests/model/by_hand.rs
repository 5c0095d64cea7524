//! What chance would not find: many mappings at once, the last unit of a budget, what four failures in a row leave.

use crate::budget::Alone;
use crate::files::File;
use crate::guest::Fault::{InDoubtDone, InDoubtUndone, None as Works, Refused};
use crate::maps::{vmas, within};
use crate::naive::Naive;
use crate::requests::{BASE, Request, pages, setup};
use crate::world::{ENDS, End, Kind, Through, World};
use daxmap_core::{DAX_RANGE, GuestAddress, HostWindowBackend, Mapper, Options, WindowOffset, page_size};
use std::iter::repeat_n;

const MANY: u64 = 500;
const LENIENT: Kind = Kind { through: Through::Memory, strict: false, can_protect: false, readonly: false };
const STRICT: Kind = Kind { strict: true, ..LENIENT };

/// Every other page of 1,002 shows one of the file.
fn many() -> impl Iterator<Item = Request> {
    (0..MANY).map(|number| setup(0, number % 2, (1 + 2 * number, 1), number % 2 == 0))
}

/// A mapper in a host window of so many ranges.
fn of_ranges(number: u64) -> (Mapper, HostWindowBackend) {
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(GuestAddress(BASE), DAX_RANGE * number, Options::default(), |of| window.attach(of));
    (mapper.unwrap(), window)
}

#[test]
fn pieces_and_the_whole_are_unknown_at_once() {
    for kind in [LENIENT, Kind { through: Through::Descriptors, ..LENIENT }] {
        let mut world = World::new(kind);
        world.make(&setup(0, 0, (0, 10), true), []);
        // Unmapped, the first piece mapped, the second refused; the first is not given back, and it is unknown whether the
        // whole is there again.
        let plan = [Works, Works, Refused, Refused, InDoubtDone, Refused];
        let (answer, _) = world.make(&Request::RemoveRange(pages((4, 2))), plan);
        assert_eq!((answer.lost, world.unknown()), (true, 2));
        assert_eq!(world.make(&Request::RemoveAll, []).0.errno, 0);
        assert!(world.guest.memory().pages.is_empty(), "a success, and the guest still sees something");
        assert_eq!(world.unknown(), 0);
        world.end(End::Drain);
    }
}

#[test]
fn an_unknown_range_is_refused_until_something_is_mapped_there() {
    let mut world = World::new(STRICT);
    let (answer, _) = world.make(&setup(0, 0, (0, 4), true), [InDoubtUndone]);
    assert_eq!((answer.lost, world.unknown()), (true, 1)); // a strict guest refuses to unmap what is not there
    let (answer, _) = world.make(&Request::RemoveRange(pages((3, 1))), []);
    assert_eq!((answer.errno, world.unknown()), (libc::EIO, 1));
    let (answer, _) = world.make(&setup(2, 0, (0, 4), false), [Works, Refused]);
    assert_eq!((answer.errno, answer.lost, world.unknown()), (libc::EIO, false, 1), "the new one is surely not there");
    assert_eq!(world.make(&Request::RemoveRange(pages((4, 1))), []).0.errno, 0, "another range");
    assert_eq!(world.make(&setup(2, 0, (0, 2), false), []).0.errno, 0);
    assert_eq!(world.unknown(), 1, "the rest is unknown still");
    assert_eq!(world.make(&setup(2, 0, (2, 2), false), []).0.errno, 0);
    assert_eq!(world.unknown(), 0);
    world.end(End::Drain);
}

#[test]
fn a_second_unmap_settles_what_was_unknown_before() {
    let mut world = World::new(STRICT);
    // The guest has it, and it is not given back.
    let (answer, _) = world.make(&setup(0, 0, (0, 4), true), [InDoubtDone, Refused]);
    assert_eq!((answer.lost, world.unknown()), (true, 1));
    // Refused once more; so is the map over it, in doubt. Then the range is surely taken.
    let (answer, _) = world.make(&setup(2, 0, (0, 4), false), [Refused, InDoubtUndone]);
    assert_eq!((answer.errno, answer.lost), (libc::EIO, false));
    assert_eq!((world.unknown(), world.guest.memory().pages.len()), (0, 0));
    world.end(End::Drain);
}

#[test]
fn what_was_asked_for_in_vain_is_not_asked_for_again() {
    let mut world = World::new(LENIENT);
    for start in [0, 5] {
        world.make(&setup(0, 0, (start, 2), true), [InDoubtDone, Refused]);
    }
    assert_eq!(world.unknown(), 2);
    let (answer, calls) = world.make(&Request::RemoveAll, [Refused, Works]);
    assert_eq!((answer.errno, calls, world.unknown()), (libc::EIO, 2, 1));
    world.end(End::Removal);
}

#[test]
fn access_that_is_not_taken_back_makes_a_range_unknown() {
    for end in ENDS {
        let mut world = World::new(Kind { can_protect: true, ..STRICT });
        world.make(&setup(0, 0, (0, 4), false), []);
        let (answer, _) = world.make(&setup(0, 0, (0, 4), true), [InDoubtDone, Refused]);
        assert_eq!((answer.lost, world.unknown()), (true, 1));
        world.end(end);
    }
}

#[test]
fn a_refreshed_mapping_keeps_the_new_descriptor() {
    let mut world = World::new(Kind { through: Through::Descriptors, ..LENIENT });
    world.make(&setup(0, 0, (0, 4), false), []);
    assert_eq!(world.open_for_writing(), 2, "the test's own, and the one that is kept");
    assert_eq!(world.make(&Request::Refresh(1), []).0.count, 1); // the same file, open for reading
    assert_eq!(world.open_for_writing(), 1);
    world.end(End::Drain);
}

#[test]
fn many_are_replaced_in_steps() {
    let whole = setup(2, 0, (0, 2 * MANY + 2), false);
    let steps = usize::try_from(MANY).unwrap();
    for failing in [0, 1, steps / 2, steps - 1, steps] {
        for fault in [Refused, InDoubtUndone, InDoubtDone] {
            let mut world = World::of_pages(2 * MANY + 2, STRICT);
            many().for_each(|request| assert_eq!(world.make_unchecked(&request).errno, 0));
            world.make(&whole, repeat_n(Works, failing).chain([fault]));
            world.end(ENDS[failing % ENDS.len()]);
        }
    }
}

#[test]
fn many_are_replaced_at_once_in_a_host_window() {
    let _budget = Alone::new();
    let files = File::pair(DAX_RANGE);
    let (mapper, window) = of_ranges(2);
    let mut naive = Naive::new(&mapper, files.iter().map(|file| (file.id, file.writable)).collect(), None, true);
    let mut make = |request: &Request| {
        let answer = request.make(&mapper, &files);
        naive.check(request, &answer, &mapper, false);
        answer.errno
    };
    let fill = |make: &mut dyn FnMut(&Request) -> i32| many().for_each(|request| assert_eq!(make(&request), 0));
    let start = mapper.host_address().unwrap() as u64;
    let shown = || within(start, start + 2 * DAX_RANGE).iter().filter(|piece| piece.inode != 0).count();
    fill(&mut make);
    assert_eq!(shown(), 500);
    assert_eq!(make(&setup(1, 0, (2, 2 * MANY - 4), false)), 0);
    assert_eq!(shown(), 3, "the first, the last, and what replaced all between");
    fill(&mut make);
    assert_eq!(make(&Request::RemoveRange(pages((2, 2 * MANY - 4)))), 0);
    assert_eq!(shown(), 2);
    fill(&mut make);
    assert_eq!(make(&Request::RemoveRange((0, 2 * DAX_RANGE))), 0, "the whole window by its exact length");
    assert_eq!(shown(), 0);
    mapper.drain_all().unwrap();
    window.release().unwrap();
}

#[test]
fn a_range_s_holes_are_of_one_kind_whatever_was_removed() {
    let _budget = Alone::new();
    let files = File::pair(DAX_RANGE);
    let (mapper, window) = of_ranges(5);
    let address = mapper.host_address().unwrap() as u64;
    let range = DAX_RANGE / page_size();
    let start_of = |page: u64| WindowOffset(page * page_size());
    for number in [1, 3] {
        assert_eq!(setup(0, 0, (number * range, range), false).make(&mapper, &files).errno, 0);
        mapper.remove(start_of(number * range), DAX_RANGE).unwrap();
    }
    // From the middle of range 1 to the middle of range 3; then a page in the removed part of each.
    for pages in [(range * 3 / 2, range * 2), (range * 3 / 2 + 9, 1), (range * 3 + 9, 1)] {
        assert_eq!(setup(0, 0, pages, false).make(&mapper, &files).errno, 0);
        mapper.remove(start_of(pages.0), pages.1 * page_size()).unwrap();
        assert_eq!(vmas(address, address + 5 * DAX_RANGE), 5, "one a range");
    }
    mapper.drain_all().unwrap();
    window.release().unwrap();
}

#[test]
fn a_range_that_is_given_back_does_not_merge_with_its_neighbours() {
    let _budget = Alone::new();
    let files = File::pair(DAX_RANGE);
    let (mapper, window) = of_ranges(5);
    let address = mapper.host_address().unwrap() as u64;
    let range = DAX_RANGE / page_size();
    assert_eq!(vmas(address, address + 5 * DAX_RANGE), 1);
    assert_eq!(setup(0, 0, (2 * range, range), false).make(&mapper, &files).errno, 0);
    mapper.remove(WindowOffset(2 * DAX_RANGE), DAX_RANGE).unwrap();
    assert_eq!(vmas(address, address + 5 * DAX_RANGE), 5, "ranges 1 and 3 have other holes than 0, 2 and 4");
    mapper.drain_all().unwrap();
    window.release().unwrap();
}

#[test]
fn the_last_unit_of_a_budget() {
    let budget = Alone::new();
    let files = File::pair(DAX_RANGE);
    let window = HostWindowBackend::new().unwrap();
    let options = Options { max_mappings: Some(3), ..Options::default() };
    let mapper = Mapper::new(GuestAddress(BASE), DAX_RANGE, options, |of| window.attach(of)).unwrap();
    let make = |request: &Request| request.make(&mapper, &files).errno;
    let cut = Request::RemoveRange(pages((2, 1)));
    assert_eq!(make(&setup(0, 0, (0, 9), true)), 0);
    assert_eq!(make(&cut), 0, "two now");
    assert_eq!(make(&setup(1, 0, (5, 1), false)), libc::ENOSPC, "four it would be");
    assert_eq!(make(&Request::RemoveRange(pages((5, 1)))), 0, "three now");
    let (live, stats, charged) = (mapper.mappings().unwrap(), mapper.stats(), budget.charged());
    let start = mapper.host_address().unwrap() as u64;
    let shown = within(start, start + DAX_RANGE);
    assert_eq!(make(&Request::RemoveRange(pages((7, 1)))), libc::ENOSPC);
    assert_eq!(make(&setup(1, 0, (7, 1), false)), libc::ENOSPC);
    assert_eq!((mapper.mappings().unwrap(), budget.charged()), (live, charged));
    assert_eq!(within(start, start + DAX_RANGE), shown);
    assert_eq!(mapper.stats().split_count, stats.split_count);
    assert_eq!(make(&setup(1, 0, (7, 2), false)), libc::ENOSPC, "a cut at the edge adds the new one");
    assert_eq!(make(&setup(1, 0, (6, 3), false)), 0, "one for one");
    assert_eq!(make(&setup(1, 0, (3, 4), false)), 0, "one for one, and a piece of another");
    assert_eq!(mapper.live_mappings(), 3);
    mapper.drain_all().unwrap();
    window.release().unwrap();
    assert_eq!(budget.charged(), 0);
}
