//! What is lent to a device stays as it is until it is given back, but for a reset.

use crate::explore::{explore, join, start};
use crate::guest::{booked, guest};
use crate::requests::{BASE, change, range};
use daxmap_core::{GuestAddress, page_size};
use shuttle::thread;
use std::sync::Arc;

#[test]
fn what_is_lent_shows_the_same_until_it_is_given_back() {
    explore(|| {
        let (mapper, guest) = guest();
        let changers = start(2, &mapper, |mapper| (0..4).for_each(|_| change(mapper)));
        let devices = [(); 2].map(|()| {
            let (mapper, guest) = (Arc::clone(&mapper), Arc::clone(&guest));
            thread::spawn(move || {
                for _ in 0..3 {
                    let (offset, length) = range();
                    let Ok(loan) = mapper.resolve(GuestAddress(BASE.0 + offset.0), length, false) else { continue };
                    let pages = || {
                        let first = usize::try_from(offset.0 / page_size()).unwrap();
                        guest.pages()[first..][..usize::try_from(length / page_size()).unwrap()].to_vec()
                    };
                    let lent = pages();
                    assert!(lent.iter().all(Option::is_some));
                    for _ in 0..3 {
                        thread::yield_now();
                        assert_eq!(pages(), lent);
                    }
                    drop(loan);
                }
            })
        });
        join(changers);
        join(devices);
        assert_eq!(booked(&mapper), guest.pages());
        mapper.remove_all().unwrap(); // all is given back
        mapper.drain_all().unwrap();
    });
}
