//! However requests come between each other, the book says what the guest sees, and the counters add up.

use crate::explore::{explore, join, start};
use crate::guest::{booked, guest};
use crate::requests::any;

#[test]
fn book_guest_and_counters_agree() {
    explore(|| {
        let (mapper, guest) = guest();
        let threads = start(3, &mapper, |mapper| (0..4).for_each(|_| any(mapper)));
        join(threads);
        assert_eq!(booked(&mapper), guest.pages());
        let stats = mapper.stats();
        let departed = stats.remove_count + stats.replaced_count + stats.swept_count;
        assert_eq!(stats.setup_count + stats.split_count, departed + stats.live_mappings);
        assert_eq!(mapper.mappings().unwrap().len() as u64, stats.live_mappings);
        mapper.drain_all().unwrap();
    });
}
