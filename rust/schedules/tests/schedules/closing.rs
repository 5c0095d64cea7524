//! A mapper that is drained under its users. Who sees that it is closed may destroy the VM.

use crate::explore::{explore, join, start};
use crate::guest::guest;
use crate::requests::{any, errno, set_up};
use daxmap_core::Overlap;
use shuttle::thread;
use std::sync::Arc;

#[test]
fn nothing_is_called_once_the_mapper_says_that_it_is_closed() {
    explore(|| {
        let (mapper, guest) = guest();
        set_up(&mapper, Overlap::Refuse).unwrap();
        let users = start(2, &mapper, |mapper| (0..3).for_each(|_| any(mapper)));
        let watcher = {
            let (mapper, guest) = (Arc::clone(&mapper), Arc::clone(&guest));
            thread::spawn(move || {
                for _ in 0..20 {
                    if mapper.is_closed() {
                        return guest.destroy_vm();
                    }
                    thread::yield_now();
                }
            })
        };
        let drains = [(); 2].map(|()| {
            let (mapper, guest) = (Arc::clone(&mapper), Arc::clone(&guest));
            thread::spawn(move || {
                mapper.drain_all().unwrap();
                assert!(mapper.is_closed());
                guest.destroy_vm();
            })
        });
        join(users);
        join(drains);
        watcher.join().unwrap();
        assert!(guest.pages().iter().all(Option::is_none));
        let stats = mapper.stats();
        assert_eq!((stats.live_mappings, stats.live_bytes), (0, 0));
        assert_eq!(errno(set_up(&mapper, Overlap::Replace)), libc::ENODEV);
    });
}

#[test]
fn the_last_user_drains_a_mapper_that_nobody_has_drained() {
    explore(|| {
        let (mapper, guest) = guest();
        set_up(&mapper, Overlap::Refuse).unwrap();
        let users = start(3, &mapper, any);
        drop(mapper);
        join(users);
        guest.destroy_vm();
        assert!(guest.pages().iter().all(Option::is_none));
    });
}
