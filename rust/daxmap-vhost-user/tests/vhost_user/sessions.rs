//! Front ends that come and go, at any moment.

use crate::front_end::{Driver, Guest, PLAIN, QEMU, RANGE, Refusals, STEPS, Screen, Share, WINDOW, shake_hands, words};
use daxmap_core::fuse::Policy;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures as Feature};

#[test]
fn the_driver_is_told_of_tag_queues_and_window() {
    let share = Share::new();
    let mut guest = Guest::new(&share, QEMU);
    let (_, config) = guest.front_end.get_config(0, 40, VhostUserConfigFlags::empty(), &[0; 40]).unwrap();
    assert_eq!(&config[..6], b"share\0");
    assert_eq!(config[36..], [1, 0, 0, 0]);
    assert_eq!(guest.front_end.get_queue_num().unwrap(), 2);
    let ring = 1 << 28 | 1 << 29; // VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX
    assert_eq!(guest.front_end.get_features().unwrap(), ring | 1 << 30 | 1 << 32, "of vhost-user, VIRTIO_F_VERSION_1");
    let always = Feature::MQ | Feature::REPLY_ACK | Feature::CONFIG | Feature::CONFIGURE_MEM_SLOTS;
    let window = Feature::BACKEND_REQ | Feature::BACKEND_SEND_FD | Feature::SHMEM | Feature::SHARED_OBJECT;
    assert_eq!(guest.front_end.get_protocol_features().unwrap(), always | window);
    let shared = guest.front_end.get_shmem_config().unwrap();
    assert_eq!((shared.nregions, shared.memory_sizes[0], shared.memory_sizes[1]), (1, WINDOW, 0));
    let shown = format!("{:?}", share.service);
    assert!(shown.contains("once: false") && shown.contains("Channel { open: true"), "{shown}");
}

#[test]
fn mappings_of_a_front_end_that_is_gone_are_no_leak() {
    let share = Share::new();
    share.write("file", b"bytes");
    for manner in [QEMU, PLAIN] {
        let guest = Guest::new(&share, manner);
        guest.init();
        let inode = guest.lookup("file");
        guest.map(inode, 0, 0, true).unwrap();
        drop(guest);
        share.wait_until_gone();
        let stats = share.device.stats();
        assert_eq!((stats.live_mappings, stats.leaked_count, stats.lost_count), (0, 0, 0));
        assert_eq!(stats.errors, []);
    }
}

#[test]
fn a_front_end_that_closes_its_channel_gets_errors_and_is_served_on() {
    let share = Share::new();
    share.write("file", b"bytes");
    let guest = Guest::new(&share, QEMU);
    guest.init();
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, false).unwrap();
    guest.close_channel();
    assert_eq!(guest.map(inode, 0, 1, false), Err(libc::EIO));
    guest.unmap(0).unwrap();
    let handle = guest.open(inode, libc::O_RDONLY);
    assert_eq!(guest.read(inode, handle, 0, 10).unwrap(), b"bytes");
    assert_eq!(share.device.stats().live_mappings, 0);
}

/// QEMU changes the guest's memory after its answer: it is asked once more, and what it does not answer then is not done.
#[test]
fn a_mapping_is_there_when_the_front_end_has_answered_twice() {
    let share = Share::new();
    share.write("file", b"bytes");
    let guest = Guest::new(&share, QEMU);
    guest.init();
    let inode = guest.lookup("file");
    guest.screen.refuse(Refusals { calls: Some(1), ..Refusals::default() });
    assert_eq!(guest.map(inode, 0, 0, false), Err(libc::EIO));
    assert_eq!(share.device.stats().live_mappings, 0);
}

#[test]
fn a_front_end_that_dies_in_the_middle_of_a_call_has_no_dax() {
    let share = Share::new();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let driver = Driver::new(1, QEMU);
    let mut front_end = share.connect();
    shake_hands(&mut front_end, &driver, &ours, QEMU, STEPS).unwrap();
    drop(ours);
    let dies = std::thread::spawn(move || theirs.read_exact(&mut [0; 12]).unwrap());
    let guest = Guest::over(front_end, driver, Arc::new(Screen::new(QEMU, WINDOW)));
    assert!(!guest.init());
    dies.join().unwrap();
    assert!(share.device.without_dax().unwrap().contains("no window"));
}

#[test]
fn who_only_looks_whether_somebody_listens_is_no_front_end() {
    let share = Share::with(false, Policy::Always, true);
    drop(UnixStream::connect(share.socket()).unwrap());
    let guest = Guest::new(&share, QEMU);
    assert!(guest.init());
    assert!(!share.service.has_ended());
    drop(guest);
    while !share.service.has_ended() {
        std::thread::yield_now();
    }
    assert_eq!(share.service.front_end(), "gone");
}

#[test]
fn a_service_that_cannot_accept_says_so_once_and_tries_again() {
    let share = Share::new();
    rustix::net::shutdown(share.listener(), rustix::net::Shutdown::Both).unwrap();
    for _ in 0..4 {
        // A session ends with what is known of its front end, also one that came to nothing.
        share.device.channel().found(Err(String::new()));
        while share.device.channel().abilities().is_some() {
            std::thread::yield_now();
        }
    }
    let told = share.notices.take();
    assert!(told.len() == 1 && told[0].starts_with("cannot take a front end"), "{told:?}");
    assert!(!share.service.has_ended());
    assert_eq!(share.service.front_end(), "none");
}

#[test]
fn a_service_stops_with_a_front_end_and_without() {
    let share = Share::new();
    for _ in 0..10_000 {
        std::thread::yield_now(); // it is to wait for one by now; if it does not, this shows less
    }
    share.stop();
    assert_eq!(share.notices.take(), Vec::<String>::new());
    drop(share);
    let share = Share::new();
    share.write("file", b"bytes");
    let guest = Guest::new(&share, QEMU);
    guest.init();
    let inode = guest.lookup("file");
    guest.map(inode, 0, 0, false).unwrap();
    drop(share);
}

#[test]
fn a_queue_is_stopped_while_the_front_end_is_waited_for_and_no_reply_comes_after() {
    let share = Share::new();
    share.write("file", b"bytes");
    let guest = Guest::new(&share, QEMU);
    guest.init();
    let inode = guest.lookup("file");
    let held = guest.screen.hold();
    let setup = guest.message(48, inode, &words([u64::MAX, 0, RANGE, 2, 0]));
    guest.driver.borrow_mut().send(&setup, 4096);
    held.wait();
    let (before, answered) = (guest.driver.borrow().written(), guest.driver.borrow().used());
    // Were the request waited for, this would hang.
    assert_eq!(guest.stop_queue(), u32::from(answered), "the request that waits is to be asked again");
    drop(held);
    while share.device.stats().setup_count == 0 {
        std::thread::yield_now();
    }
    let Guest { front_end, driver, connection, .. } = guest;
    drop((front_end, connection));
    share.wait_until_gone();
    assert!(driver.borrow().written() == before, "the guest's memory is its own again");
}

#[test]
fn requests_that_come_while_one_waits_for_the_front_end_are_all_answered() {
    for manner in [QEMU, PLAIN] {
        let share = Share::new();
        share.write("file", b"bytes");
        let guest = Guest::new(&share, manner);
        guest.init();
        let inode = guest.lookup("file");
        let answered = guest.driver.borrow().used();
        let held = guest.screen.hold();
        let setup = guest.message(48, inode, &words([u64::MAX, 0, RANGE, 2, 0]));
        guest.driver.borrow_mut().send(&setup, 4096);
        held.wait();
        for _ in 0..2 {
            let lookup = guest.message(1, 1, b"file\0");
            guest.driver.borrow_mut().send(&lookup, 4096);
        }
        drop(held);
        while guest.driver.borrow().used() != answered + 3 {
            std::thread::yield_now();
        }
    }
}

/// `SIZE` requests are the most that a queue holds (VIRTIO 1.3, 2.7.13).
#[test]
fn a_queue_that_claims_more_requests_than_it_holds_is_let_be() {
    for manner in [QEMU, PLAIN] {
        let share = Share::new();
        let guest = Guest::new(&share, manner);
        guest.init();
        guest.driver.borrow_mut().offer(1000);
        drop(guest);
        share.wait_until_gone();
        assert!(Guest::new(&share, manner).init(), "and the next one is served");
    }
}
