//! The window of front ends that can do more and less, through real messages.

use crate::front_end::{Manner, PAGE, PLAIN, QEMU, RANGE, Share, WINDOW, WINDOW_ADDRESS, content, started, words};
use daxmap_core::Budget;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

const NEITHER: Manner = Manner { replaces: false, ..PLAIN };
const MANNERS: [Manner; 3] = [QEMU, PLAIN, NEITHER];

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
        assert_eq!(Budget::of_process().used(), 0, "the memory areas are the front end's");
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
fn a_file_that_is_cut_while_it_is_mapped_is_shown_as_it_is_then() {
    let share = Share::new();
    share.write("file", &content());
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    let held = guest.screen.hold();
    let setup = guest.message(48, inode, &words([u64::MAX, 0, RANGE, 2, 0]));
    guest.driver.borrow_mut().send(&setup, 4096);
    held.wait();
    std::fs::OpenOptions::new().write(true).open(share.directory.join("file")).unwrap().set_len(PAGE + 10).unwrap();
    drop(held);
    assert_eq!(guest.driver.borrow().reply()[4..8], [0; 4]);
    let mut expected = content()[..4096 + 10].to_vec();
    expected.resize(8192, 0);
    assert_eq!(guest.screen.load(0, 8192), Some(expected));
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
        body.extend(ranges.as_flattened().iter().flat_map(|word| word.to_le_bytes()));
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
