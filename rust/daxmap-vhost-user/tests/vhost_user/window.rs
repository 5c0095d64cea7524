//! The window of front ends that can do more and less, through real messages.

use crate::front_end::{Guest, Manner, PAGE, PLAIN, QEMU, RANGE, Refusals, Share, WINDOW, WINDOW_ADDRESS, words};
use daxmap_core::fuse::Policy;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

const NEITHER: Manner = Manner { replaces: false, ..PLAIN };
const MANNERS: [Manner; 3] = [QEMU, PLAIN, NEITHER];

/// A file whose last page is cut: two whole pages, and 100 bytes.
fn content() -> Vec<u8> {
    (0..2 * PAGE + 100).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

fn started(share: &Share, manner: Manner) -> Guest {
    let guest = Guest::new(share, manner);
    assert!(guest.init(), "DAX is offered");
    guest.screen.calls();
    guest
}

#[test]
fn every_byte_of_a_file_is_shown_and_zeros_after_it() {
    for manner in MANNERS {
        let share = Share::new();
        share.write("file", &content());
        let guest = started(&share, manner);
        let inode = guest.lookup("file");
        guest.map(inode, 0, 3, false).unwrap();
        let mut expected = content();
        expected.resize(3 * 4096, 0);
        assert_eq!(guest.screen.load(3 * RANGE, expected.len()), Some(expected), "{manner:?}");
        guest.unmap(3).unwrap();
        assert_eq!(guest.screen.count(), 0);
        assert_eq!((share.device.stats().setup_count, share.device.stats().remove_count), (1, 1));
    }
}

/// QEMU answers a call, and only then changes the guest's memory.
#[test]
fn the_guest_hears_of_a_mapping_when_it_is_shown() {
    let share = Share::new();
    share.write("file", &content());
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, false).unwrap();
    assert!(guest.screen.load(0, content().len()) == Some(content()), "nothing is shown yet");
}

#[test]
fn stores_reach_the_file_after_an_upgrade_without_a_moment_unmapped() {
    for manner in MANNERS {
        let share = Share::new();
        share.write("file", &content());
        let guest = started(&share, manner);
        let inode = guest.lookup("file");
        let handle = guest.open(inode, libc::O_RDWR);
        guest.map(inode, 0, 0, false).unwrap();
        guest.screen.calls();
        guest.map(inode, 0, 0, true).unwrap();
        if manner.replaces || !manner.read_only {
            let unmapped = guest.screen.calls().iter().any(|call| call.starts_with("unmap"));
            assert!(!unmapped, "{manner:?}");
        }
        assert_eq!(share.device.stats().upgrade_count, 1);
        assert!(guest.screen.store(10, b"whole page"));
        assert!(guest.screen.store(2 * PAGE + 10, b"cut page"));
        guest.flush(inode, handle);
        let mut expected = content();
        expected[10..20].copy_from_slice(b"whole page");
        let cut = usize::try_from(2 * PAGE).unwrap() + 10;
        expected[cut..cut + 8].copy_from_slice(b"cut page");
        assert_eq!(share.read("file"), expected, "{manner:?}");
    }
}

#[test]
fn stores_are_in_the_file_when_the_range_is_unmapped_or_the_guest_is_gone() {
    for leaves in [false, true] {
        let share = Share::new();
        share.write("file", b"0123456789");
        let guest = started(&share, QEMU);
        let inode = guest.lookup("file");
        guest.map(inode, 0, 0, true).unwrap();
        assert!(guest.screen.store(2, b"AB"));
        if leaves {
            drop(guest);
            share.wait_until_gone();
        } else {
            guest.unmap(0).unwrap();
        }
        assert_eq!(share.read("file"), b"01AB456789");
    }
}

#[test]
fn what_is_appended_shows_through_the_old_mapping() {
    for manner in MANNERS {
        let share = Share::new();
        share.write("file", &content());
        let guest = started(&share, manner);
        let inode = guest.lookup("file");
        let handle = guest.open(inode, libc::O_RDWR);
        guest.map(inode, 0, 0, false).unwrap();
        let more = vec![7; 20_000];
        guest.write(inode, handle, content().len() as u64, &more).unwrap();
        let expected = [content(), more].concat();
        assert_eq!(guest.screen.load(0, expected.len()), Some(expected.clone()), "{manner:?}");
        // And what the host appends, from when the guest hears of it.
        let file = std::fs::OpenOptions::new().write(true).open(share.directory.join("file")).unwrap();
        file.write_all_at(b"host", expected.len() as u64).unwrap();
        assert_eq!(guest.lookup("file"), inode);
        assert_eq!(guest.screen.load(expected.len() as u64, 4), Some(b"host".to_vec()), "{manner:?}");
    }
}

#[test]
fn stores_of_both_sides_meet_without_any_request() {
    let share = Share::new();
    share.write("file", b"0123456789");
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, true).unwrap();
    assert!(guest.screen.store(2, b"AB"));
    while share.read("file") != b"01AB456789" {
        std::thread::yield_now();
    }
    let file = std::fs::OpenOptions::new().write(true).open(share.directory.join("file")).unwrap();
    file.write_all_at(b"host", 6).unwrap();
    while guest.screen.load(0, 10).unwrap() != b"01AB45host" {
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_is_cut_and_grows_again_shows_zeros_between() {
    for manner in MANNERS {
        let share = Share::new();
        share.write("file", &content());
        let guest = started(&share, manner);
        let inode = guest.lookup("file");
        guest.map(inode, 0, 0, true).unwrap();
        guest.truncate(inode, 2 * PAGE + 10);
        guest.truncate(inode, 2 * PAGE + 50);
        let mut expected = content()[usize::try_from(2 * PAGE).unwrap()..][..50].to_vec();
        expected[10..].fill(0);
        assert_eq!(guest.screen.load(2 * PAGE, 50), Some(expected), "{manner:?}");
    }
}

#[test]
fn an_empty_file_stays_empty_and_a_small_one_may_be_read_by_read() {
    let share = Share::new();
    share.write("file", b"");
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, true).unwrap();
    assert_eq!(guest.screen.load(0, 4), Some(vec![0; 4]));
    let handle = guest.open(inode, libc::O_RDWR);
    guest.write(inode, handle, 0, b"small").unwrap();
    assert!(guest.screen.store(0, b"S"));
    assert_eq!(guest.read(inode, handle, 0, 100).unwrap(), b"Small");
    guest.unmap(0).unwrap();
    assert_eq!(share.read("file"), b"Small");
}

#[test]
fn a_file_that_cannot_be_opened_for_writing_is_shown_as_a_copy() {
    let share = Share::new();
    std::fs::copy("/bin/cat", share.directory.join("cat")).unwrap();
    // Nobody may write to a program that runs (ETXTBSY), not even root.
    let mut running = Command::new(share.directory.join("cat")).stdin(Stdio::piped()).spawn().unwrap();
    let guest = started(&share, QEMU);
    let inode = guest.lookup("cat");
    guest.map(inode, 0, 0, false).unwrap();
    let bytes = share.read("cat");
    assert!(guest.screen.load(0, bytes.len()) == Some(bytes.clone()));
    assert_eq!(guest.map(inode, 0, 0, true), Err(libc::ETXTBSY));
    assert!(guest.screen.store(0, b"harmless"), "it is a copy of the guest's own");
    guest.unmap(0).unwrap();
    drop(running.stdin.take());
    running.wait().unwrap();
    assert!(share.read("cat") == bytes);
}

#[test]
fn a_map_that_is_refused_leaves_nothing() {
    let share = Share::new();
    share.write("file", &content());
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    for maps_after in [0, 1] {
        guest.screen.refuse(Refusals { maps_after: Some(maps_after), ..Refusals::default() });
        assert_eq!(guest.map(inode, 0, 0, false), Err(libc::EIO));
        assert_eq!(guest.screen.count(), 0);
    }
    guest.screen.refuse(Refusals::default());
    guest.map(inode, 0, 0, false).unwrap();
    assert_eq!(share.device.stats().live_mappings, 1);
}

#[test]
fn an_unmap_that_is_refused_keeps_the_mapping_and_the_range_can_be_used_again() {
    let share = Share::new();
    share.write("file", &content());
    share.write("other", b"other");
    let guest = started(&share, QEMU);
    let (inode, other) = (guest.lookup("file"), guest.lookup("other"));
    guest.map(inode, 0, 0, false).unwrap();
    guest.screen.refuse(Refusals { unmaps_after: Some(0), ..Refusals::default() });
    assert_eq!(guest.unmap(0), Err(libc::EIO));
    assert_eq!(guest.map(other, 0, 0, false), Err(libc::EIO));
    assert_eq!(guest.screen.load(0, 8), Some(content()[..8].to_vec()));
    assert_eq!(share.device.stats().live_mappings, 1);
    guest.screen.refuse(Refusals::default());
    guest.map(other, 0, 0, false).unwrap();
    assert_eq!(guest.screen.load(0, 6), Some(b"other\0".to_vec()));
    assert_eq!(guest.screen.count(), 1);
}

#[test]
fn half_an_unmap_is_lost_until_the_range_is_settled() {
    let share = Share::new();
    share.write("file", &content());
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, false).unwrap();
    guest.screen.refuse(Refusals { unmaps_after: Some(1), ..Refusals::default() });
    assert_eq!(guest.unmap(0), Err(libc::EIO));
    let stats = share.device.stats();
    assert_eq!((guest.screen.count(), stats.lost_count, stats.live_mappings), (1, 1, 0));
    guest.screen.refuse(Refusals::default());
    guest.map(inode, 0, 0, false).unwrap();
    assert_eq!(guest.screen.load(0, content().len()), Some(content()));
}

#[test]
fn half_a_map_that_cannot_be_undone_is_lost_until_the_range_is_settled() {
    for manner in [QEMU, Manner { past_end: false, ..PLAIN }] {
        let share = Share::new();
        share.write("file", &content());
        let guest = started(&share, manner);
        let inode = guest.lookup("file");
        guest.screen.refuse(Refusals { unmaps_after: Some(0), maps_after: Some(1) });
        assert_eq!(guest.map(inode, 0, 0, false), Err(libc::EIO));
        assert_eq!((guest.screen.count(), share.device.stats().lost_count), (1, 1));
        guest.screen.refuse(Refusals { unmaps_after: Some(0), ..Refusals::default() });
        assert_eq!(guest.map_at(inode, 0, PAGE, 0, false), Err(libc::EIO), "no part of it can be used");
        guest.screen.refuse(Refusals::default());
        guest.map(inode, 0, 0, false).unwrap();
        assert_eq!(guest.screen.load(0, content().len()), Some(content()));
        guest.unmap(0).unwrap();
        assert_eq!(guest.screen.count(), 0);
    }
}

#[test]
fn a_page_of_another_file_in_a_range_leaves_the_rest() {
    for manner in MANNERS {
        let share = Share::new();
        share.write("file", &content());
        share.write("other", &[7; 4096]);
        let guest = started(&share, manner);
        let (inode, other) = (guest.lookup("file"), guest.lookup("other"));
        guest.map(inode, 0, 1, false).unwrap();
        guest.map_at(other, 0, PAGE, RANGE + PAGE, false).unwrap();
        let mut expected = content();
        expected[4096..8192].fill(7);
        assert_eq!(guest.screen.load(RANGE, expected.len()), Some(expected), "{manner:?}");
        guest.unmap(1).unwrap();
        assert_eq!(guest.screen.count(), 0);
        guest.map_at(other, 0, PAGE, RANGE + PAGE, false).unwrap();
        assert_eq!(guest.screen.load(RANGE + PAGE, 8), Some(vec![7; 8]), "nothing of it is in the way");
    }
}

#[test]
fn the_next_file_in_a_range_has_nothing_of_the_last() {
    let share = Share::new();
    share.write("file", &[1; 100]);
    share.write("other", b"other");
    let guest = started(&share, QEMU);
    let (inode, other) = (guest.lookup("file"), guest.lookup("other"));
    guest.map(inode, 0, 0, true).unwrap();
    assert!(guest.screen.store(200, b"past the end"));
    guest.unmap(0).unwrap();
    guest.map(other, 0, 0, false).unwrap();
    let mut expected = b"other".to_vec();
    expected.resize(4096, 0);
    assert_eq!(guest.screen.load(0, 4096), Some(expected));
}

#[test]
fn what_is_mapped_for_reading_again_takes_no_stores() {
    for manner in MANNERS {
        let share = Share::new();
        share.write("file", b"0123456789");
        let guest = started(&share, manner);
        let inode = guest.lookup("file");
        let handle = guest.open(inode, libc::O_RDWR);
        guest.map(inode, 0, 0, true).unwrap();
        assert!(guest.screen.store(0, b"A"));
        guest.map(inode, 0, 0, false).unwrap();
        assert_eq!(guest.screen.store(1, b"B"), !manner.past_end, "to a copy, if at all");
        guest.flush(inode, handle);
        assert_eq!(share.read("file"), b"A123456789", "{manner:?}");
        guest.map(inode, 0, 0, true).unwrap();
        assert!(guest.screen.store(2, b"C"));
        guest.flush(inode, handle);
        assert_eq!(share.read("file")[2..], *b"C3456789", "{manner:?}");
    }
}

#[test]
fn a_mapping_is_kept_in_step_however_many_others_come_and_go() {
    let share = Share::new();
    share.write("file", b"0123456789");
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, false).unwrap();
    for name in ["a", "b", "c"] {
        share.write(name, b"other");
        guest.map(guest.lookup(name), 0, 1, false).unwrap();
        guest.unmap(1).unwrap();
    }
    let handle = guest.open(inode, libc::O_RDWR);
    guest.write(inode, handle, 0, b"new").unwrap();
    assert_eq!(guest.screen.load(0, 10), Some(b"new3456789".to_vec()));
}

#[test]
fn a_read_only_share_has_dax_only_where_descriptors_for_reading_are_taken() {
    for (manner, has_dax) in [(QEMU, false), (PLAIN, true)] {
        let share = Share::with(true, Policy::Always, false);
        share.write("file", &content());
        let guest = Guest::new(&share, manner);
        assert_eq!(guest.init(), has_dax, "{manner:?}");
        let inode = guest.lookup("file");
        let mapped = guest.map(inode, 0, 0, false);
        if has_dax {
            mapped.unwrap();
            assert!(!guest.screen.store(0, b"x"), "read-only");
            assert_eq!(guest.map(inode, 0, 0, true), Err(libc::EROFS));
            assert_eq!(share.device.without_dax(), None);
        } else {
            assert_eq!(mapped, Err(libc::EOPNOTSUPP));
            assert!(share.device.without_dax().unwrap().contains("read-only share"));
            assert!(share.notices.take().iter().any(|line| line.contains("no DAX")));
        }
        let handle = guest.open(inode, libc::O_RDONLY);
        assert_eq!(guest.read(inode, handle, 0, 8).unwrap(), content()[..8]);
    }
}

#[test]
fn a_front_end_that_does_not_answer_gets_no_dax() {
    let share = Share::new();
    let guest = Guest::new(&share, Manner { acks: false, ..PLAIN });
    assert!(!guest.init());
    assert!(share.device.without_dax().unwrap().contains("does not say"));
}

#[test]
fn no_window_where_dax_is_never_wanted() {
    let share = Share::with(false, Policy::Never, false);
    share.write("file", b"bytes");
    let guest = Guest::new(&share, QEMU);
    assert!(!guest.init());
    let inode = guest.lookup("file");
    assert_eq!(guest.map(inode, 0, 0, false), Err(libc::ENOSYS));
    let handle = guest.open(inode, libc::O_RDONLY);
    assert_eq!(guest.read(inode, handle, 0, 8).unwrap(), b"bytes");
}

#[test]
fn what_a_front_end_cannot_do_is_said_once_a_line_each() {
    let share = Share::new();
    for manner in [QEMU, QEMU, PLAIN] {
        let guest = started(&share, manner);
        assert!(!guest.screen.calls().iter().any(|call| call.starts_with("map")), "the second INIT asks nothing");
        assert!(guest.init());
        assert_eq!(guest.screen.calls(), Vec::<String>::new());
        assert_eq!(guest.screen.count(), 0);
        drop(guest);
        share.wait_until_gone();
    }
    let told = share.notices.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("past the end") && told[1].contains("descriptors"), "{told:?}");
}

#[test]
fn a_guest_that_starts_again_finds_nothing_mapped() {
    let share = Share::new();
    share.write("file", &content());
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, false).unwrap();
    assert!(guest.init());
    assert_eq!(guest.screen.count(), 0);
    assert_eq!(share.device.stats().swept_count, 1);
}

#[test]
fn mappings_end_where_the_front_end_would_be_out_of_slots() {
    let share = Share::new();
    share.write("file", &[7; 8192]);
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    let mut page = 0;
    while guest.map_at(inode, 0, PAGE, 2 * page * PAGE, false).is_ok() {
        page += 1;
    }
    assert_eq!(guest.map_at(inode, 0, PAGE, 2 * page * PAGE, false), Err(libc::ENOSPC));
    assert_eq!(page, 479, "and a region of RAM");
    guest.call(49, 0, &[1_u32.to_le_bytes().to_vec(), words([0, PAGE])].concat()).unwrap();
    guest.map_at(inode, 0, PAGE, 2 * page * PAGE, false).unwrap();
}

#[test]
fn a_request_in_the_window_is_answered_and_survives_that_its_page_is_cut_off() {
    let share = Share::new();
    share.write("file", &[0; 8192]);
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    guest.map(inode, 0, 1, true).unwrap();
    let getattr = guest.message(3, 1, &[0; 16]);
    assert!(guest.screen.store(RANGE, &getattr));
    let send = |request: &[u8], room| {
        let mut driver = guest.driver.borrow_mut();
        driver.send_at(WINDOW_ADDRESS + RANGE, u32::try_from(request.len()).unwrap(), room);
        driver.reply()
    };
    assert_eq!(send(&getattr, 4096).len(), 120);
    assert_eq!(send(&getattr, u32::MAX - 4096).len(), 120, "most of that is no memory");
    // The most that a guest reads at once.
    let handle = guest.open(inode, libc::O_RDWR);
    guest.truncate(inode, 1 << 20);
    let read = guest.message(15, inode, &words([handle, 0, 1 << 20, 0, 0]));
    assert!(guest.screen.store(RANGE, &read));
    assert_eq!(send(&read, (1 << 20) + 16).len(), (1 << 20) + 16);
    std::fs::File::create(share.directory.join("file")).unwrap();
    assert_eq!(send(&getattr, 4096).len(), 0, "the page is gone");
    assert_eq!(guest.lookup("file"), inode, "and the device is there");
}

#[test]
fn a_request_may_be_as_long_as_its_ranges_and_a_reply_as_its_room() {
    let share = Share::new();
    share.write("file", b"bytes");
    let guest = started(&share, PLAIN);
    let inode = guest.lookup("file");
    let unmap = |ranges: &[[u64; 2]], room| {
        let mut body = u32::try_from(ranges.len()).unwrap().to_le_bytes().to_vec();
        ranges.iter().for_each(|range| body.extend(words(*range)));
        let message = guest.message(49, 0, &body);
        let mut driver = guest.driver.borrow_mut();
        driver.send(&message, room);
        driver.reply()
    };
    let pages: Vec<[u64; 2]> = (0..WINDOW / PAGE).map(|page| [page * PAGE, PAGE]).collect();
    guest.map_at(inode, 0, PAGE, WINDOW - PAGE, false).unwrap();
    assert_eq!(unmap(&pages, 16)[4..8], [0; 4], "none is an error");
    assert_eq!(guest.screen.count(), 0);
    guest.map(inode, 0, 0, false).unwrap();
    assert_eq!(unmap(&[[0, RANGE]], 15), [], "a reply that has no room is none");
    assert_eq!(guest.screen.count(), 0);
}
