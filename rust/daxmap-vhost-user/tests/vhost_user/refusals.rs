//! Front ends that refuse, and that have no DAX.

use crate::front_end::{Guest, Manner, PAGE, PLAIN, QEMU, Refusals, Share, content, started, words};
use daxmap_core::fuse::Policy;
use daxmap_vhost_user::Abilities;

#[test]
fn what_a_front_end_can_do_is_found_out() {
    let able = Abilities { past_end: true, replaces: true, read_only: true, slots: None };
    let slots = Some(479); // of the 480 that may be used RAM has one
    for (manner, abilities) in [
        (QEMU, Abilities { past_end: false, replaces: false, read_only: false, slots }),
        (PLAIN, able),
        (Manner { past_end: false, ..PLAIN }, Abilities { past_end: false, slots, ..able }),
        // It tells us of each mapping as of memory, so each takes a slot.
        (
            Manner { replaces: false, read_only: false, tells: true, ..PLAIN },
            Abilities { replaces: false, read_only: false, slots, ..able },
        ),
    ] {
        let share = Share::new();
        let _guest = started(&share, manner);
        assert_eq!(share.device.channel().abilities(), Some(Ok(abilities)), "{manner:?}");
    }
}

#[test]
fn a_map_that_is_refused_leaves_nothing() {
    let share = Share::new();
    share.write("file", &content());
    let guest = started(&share, QEMU);
    let inode = guest.lookup("file");
    for maps in [0, 1] {
        guest.screen.refuse(Refusals { maps: Some(maps), ..Refusals::default() });
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
    guest.screen.refuse(Refusals { unmaps: Some(0), ..Refusals::default() });
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
    guest.screen.refuse(Refusals { unmaps: Some(1), ..Refusals::default() });
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
        guest.screen.refuse(Refusals { unmaps: Some(0), maps: Some(1), ..Refusals::default() });
        assert_eq!(guest.map(inode, 0, 0, false), Err(libc::EIO));
        assert_eq!((guest.screen.count(), share.device.stats().lost_count), (1, 1));
        guest.screen.refuse(Refusals { unmaps: Some(0), ..Refusals::default() });
        assert_eq!(guest.map_at(inode, 0, PAGE, 0, false), Err(libc::EIO), "no part of it can be used");
        guest.screen.refuse(Refusals::default());
        guest.map(inode, 0, 0, false).unwrap();
        assert_eq!(guest.screen.load(0, content().len()), Some(content()));
        guest.unmap(0).unwrap();
        assert_eq!(guest.screen.count(), 0);
    }
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
fn a_front_end_that_does_not_unmap_gets_no_dax() {
    let share = Share::new();
    let guest = Guest::new(&share, QEMU);
    guest.screen.refuse(Refusals { unmaps: Some(0), ..Refusals::default() });
    assert!(!guest.init());
    assert_eq!(share.device.without_dax().unwrap(), "the front end refuses to unmap a page again");
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
