//! Front ends that vanish after each message. Alone in its process: it counts descriptors.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

#[path = "vhost_user/front_end/mod.rs"]
mod front_end;

use front_end::{Driver, Guest, QEMU, STEPS, Share, fd_count, shake_hands};
use std::os::unix::net::UnixStream;

#[test]
fn a_front_end_may_vanish_after_each_message_and_nothing_is_left() {
    let share = Share::new();
    share.write("file", b"bytes");
    let mut before = 0;
    // Twice, since the first time may leave what is made once.
    for steps in (1..=STEPS).chain(1..=STEPS) {
        let driver = Driver::new(1, QEMU);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut front_end = share.connect();
        shake_hands(&mut front_end, &driver, &theirs, QEMU, steps).unwrap();
        drop((front_end, ours, theirs, driver));
        let guest = Guest::new(&share, QEMU);
        assert!(guest.init(), "the next one is served");
        let inode = guest.lookup("file");
        guest.map(inode, 0, 0, true).unwrap();
        guest.end();
        share.wait_until_gone();
        if steps == STEPS {
            let now = fd_count();
            assert!(before == 0 || now < before + STEPS, "{now} descriptors, {before} before");
            before = now;
        }
    }
    assert_eq!(share.device.stats().live_mappings, 0);
    let lines = share.notices.take();
    assert_eq!(lines.len(), 2, "its limits and nothing else: {lines:?}");
}
