//! A window of real addresses, which a mapper, devices and the VMM share, and give up in any order.

use crate::explore::{explore, join, start};
use crate::requests::{BASE, PAGES, any, range};
use daxmap_core::{Budget, GuestAddress, HostWindowBackend, Mapper, Options, page_size};
use shuttle::thread;
use std::sync::Arc;

#[test]
fn addresses_are_given_back_with_their_last_user() {
    explore(|| {
        let charged = Budget::of_process().used();
        let window = HostWindowBackend::new().unwrap();
        let size = PAGES as u64 * page_size();
        let mapper = Arc::new(Mapper::new(BASE, size, Options::default(), |of| window.attach(of)).unwrap());
        let users = start(2, &mapper, |mapper| (0..3).for_each(|_| any(mapper)));
        let device = {
            let mapper = Arc::clone(&mapper);
            thread::spawn(move || {
                let (offset, length) = range();
                for _ in 0..3 {
                    let loan = mapper.resolve(GuestAddress(BASE.0 + offset.0), length, false);
                    thread::yield_now();
                    drop(loan);
                }
            })
        };
        let vmm = {
            let window = window.clone();
            thread::spawn(move || {
                let mut tries = 0..20;
                let released = tries.any(|_| {
                    thread::yield_now();
                    window.release().is_ok()
                });
                for _ in tries {
                    assert!(!released || !window.is_releasable(), "it is there again");
                    thread::yield_now();
                }
            })
        };
        thread::yield_now();
        mapper.drain_all().unwrap();
        window.release().unwrap(); // the mapper is drained
        assert!(!window.is_releasable());
        join(users);
        device.join().unwrap();
        vmm.join().unwrap();
        assert_eq!(Budget::of_process().used(), charged);
    });
}
