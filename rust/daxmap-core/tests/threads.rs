//! One mapper and many threads, without Python in between. What a thread or address sanitizer should run, too.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use daxmap_core::{
    Backend, Change, Charge, Errno, Error, Failure, FileOffset, GuestAddress, HostWindowBackend, MapRequest, Mapper,
    Options, Overlap, Window, WindowOffset, page_size,
};
use every_call::every_call;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, OnceLock, Weak};
use std::thread;

mod every_call;

const BASE: GuestAddress = GuestAddress(1 << 40);
const PAGES: u64 = 64;

type Hook = Box<dyn Fn() + Send + Sync>;

/// A backend that shows nothing, but checks that the mapper makes one call at a time, and none after the end.
#[derive(Default)]
struct Witness {
    inside: AtomicBool,
    closed: AtomicBool,
    shown: AtomicU64,
    /// Called in every call.
    hook: OnceLock<Hook>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

#[derive(Debug)]
struct Witnessed(Arc<Witness>);

impl Witnessed {
    fn called(&self) -> &Witness {
        let witness = &*self.0;
        assert!(!witness.closed.load(SeqCst), "called after it was closed");
        assert!(!witness.inside.swap(true, SeqCst), "two calls at once");
        thread::yield_now();
        witness.inside.store(false, SeqCst);
        if let Some(hook) = witness.hook.get() {
            hook();
        }
        witness
    }
}

impl Backend for Witnessed {
    fn changes_at_once(&self) -> bool {
        true
    }

    fn change(&mut self, change: &Change<'_>, _notes: &mut Vec<String>) -> Result<(), Failure> {
        let shown = &self.called().shown;
        shown.fetch_add(u64::from(change.new.is_some()), SeqCst);
        shown.fetch_sub(change.old.len() as u64, SeqCst); // no mapping is cut here
        Ok(())
    }

    fn read(&self, _offset: WindowOffset, _buffer: &mut [u8]) -> Result<(), Errno> {
        self.called();
        Ok(())
    }

    fn write(&self, _offset: WindowOffset, _data: &[u8]) -> Result<(), Errno> {
        self.called();
        Ok(())
    }

    fn close(self: Box<Self>, _charge: Charge, _notes: &mut Vec<String>) -> bool {
        self.called().closed.store(true, SeqCst);
        true
    }
}

fn witnessed() -> (Mapper, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    let backend = Witnessed(Arc::clone(&witness));
    let mapper = Mapper::new(BASE, PAGES * page_size(), Options::default(), |_| Ok(Box::new(backend)));
    (mapper.unwrap(), witness)
}

fn this_program() -> File {
    File::open(std::env::current_exe().unwrap()).unwrap()
}

fn errno(answer: Result<(), Error>) -> i32 {
    answer.map_or_else(|error| error.errno().0, |()| 0)
}

fn request(page: u64, pages: u64) -> MapRequest {
    let offset = page % PAGES * page_size();
    let length = pages * page_size();
    MapRequest { file_offset: FileOffset(offset), window_offset: WindowOffset(offset), length, writable: false }
}

fn set_up(mapper: &Mapper, file: &File, page: u64) -> i32 {
    errno(mapper.setup(file.as_raw_fd(), &request(page, 1), Overlap::Refuse))
}

/// Repeats a call until the mapper is closed, and counts its successes. It may fail with `allowed` in the meantime.
fn until_closed(allowed: i32, call: impl Fn(u64) -> i32) -> u64 {
    let (mut number, mut done) = (0, 0);
    loop {
        match call(number) {
            0 => done += 1,
            libc::ENODEV => return done,
            errno => assert_eq!(errno, allowed),
        }
        number += 1;
    }
}

#[test]
fn each_call_beside_a_drain_is_swept_or_refused() {
    let file = this_program();
    for _ in 0..100 {
        let (mapper, witness) = witnessed();
        let under_way = Barrier::new(4);
        let map = |first: u64| {
            until_closed(libc::EEXIST, |number| {
                if number == 5 {
                    under_way.wait();
                }
                set_up(&mapper, &file, first + 2 * number)
            })
        };
        let remove = || {
            under_way.wait();
            until_closed(libc::ENOENT, |page| {
                errno(mapper.remove(WindowOffset(page % PAGES * page_size()), page_size()))
            })
        };
        let (done, removed) = thread::scope(|scope| {
            let maps = [0, 1].map(|first| scope.spawn(move || map(first)));
            let removals = scope.spawn(remove);
            under_way.wait();
            mapper.drain_all().unwrap();
            assert!(mapper.is_closed() && witness.closed.load(SeqCst));
            (maps.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>(), removals.join().unwrap())
        });
        let stats = mapper.stats();
        assert_eq!((stats.setup_count, stats.remove_count, stats.swept_count), (done, removed, done - removed));
        assert_eq!((witness.shown.load(SeqCst), stats.live_mappings), (0, 0));
    }
}

#[test]
fn all_calls_at_once_leave_a_book_that_is_true() {
    let file = this_program();
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(BASE, PAGES * page_size(), Options::default(), |of: &Window| window.attach(of)).unwrap();
    let whole: Vec<_> = (0..PAGES).map(|page| (WindowOffset(page * page_size()), page_size())).collect();
    thread::scope(|scope| {
        for first in 0..2 {
            let (mapper, file) = (&mapper, &file);
            scope.spawn(move || (0..5000).for_each(|number| _ = set_up(mapper, file, first + 7 * number)));
        }
        scope.spawn(|| {
            for number in 0..1000 {
                let over = request(5 * number % (PAGES - 4), 4);
                mapper.setup(file.as_raw_fd(), &over, Overlap::Replace).unwrap();
                mapper.remove_range(WindowOffset(over.window_offset.0 + page_size()), page_size()).unwrap();
                mapper.refresh(file.as_raw_fd()).unwrap();
            }
        });
        scope.spawn(|| (0..300).for_each(|_| _ = mapper.remove_batch(&whole).unwrap()));
        scope.spawn(|| (0..100).for_each(|_| mapper.reset().unwrap()));
        scope.spawn(|| {
            for _ in 0..2000 {
                if let Err(error) = mapper.read(BASE, page_size()) {
                    assert_eq!(error.errno().0, libc::EFAULT);
                }
                let error = mapper.write(BASE, b"no").unwrap_err();
                assert!([libc::EFAULT, libc::EACCES].contains(&error.errno().0));
                assert!(window.release().is_err(), "its mapper is not drained");
            }
        });
        scope.spawn(|| {
            for _ in 0..2000 {
                let ends: Vec<_> = mapper.mappings().unwrap().iter().map(|mapping| mapping.span).collect();
                assert!(ends.is_sorted_by(|one, next| one.end() <= next.start()));
                assert!(mapper.stats().live_mappings <= PAGES);
            }
        });
    });
    let stats = mapper.stats();
    let departed = stats.remove_count + stats.replaced_count + stats.swept_count;
    assert_eq!(stats.setup_count + stats.split_count, departed + stats.live_mappings);
    assert_eq!(mapper.mappings().unwrap().len() as u64, stats.live_mappings);
    mapper.drain_all().unwrap();
    window.release().unwrap();
}

#[test]
fn every_call_from_a_callback_of_its_own_mapper_is_refused() {
    let (mapper, witness) = witnessed();
    let (mapper, file) = (Arc::new(mapper), this_program());
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (itself, kept): (Weak<Mapper>, _) = (Arc::downgrade(&mapper), Arc::clone(&answers));
    let hook: Hook = Box::new(move || {
        let Some(mapper) = itself.upgrade() else { return }; // the drop's own drain
        let short = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap(); // fits into the window
        let errnos = every_call(&mapper, short.as_raw_fd()).map(errno);
        assert!(!mapper.is_closed());
        let _ = mapper.stats();
        kept.lock().unwrap().push(errnos);
    });
    assert!(witness.hook.set(hook).is_ok());
    assert_eq!(set_up(&mapper, &file, 0), 0);
    mapper.read(BASE, 1).unwrap();
    mapper.remove(WindowOffset(0), page_size()).unwrap();
    assert_eq!(set_up(&mapper, &file, 0), 0);
    mapper.reset().unwrap();
    mapper.drain_all().unwrap();
    let answers = answers.lock().unwrap();
    assert!(answers.len() > 5, "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == [libc::EDEADLK; 17]), "{answers:?}");
}

#[test]
fn a_panic_in_a_callback_does_not_wedge_the_mapper() {
    let (mapper, witness) = witnessed();
    let (file, armed) = (this_program(), Arc::new(AtomicBool::new(false)));
    let trigger = Arc::clone(&armed);
    assert!(witness.hook.set(Box::new(move || assert!(!trigger.swap(false, SeqCst), "on purpose"))).is_ok());
    assert_eq!(set_up(&mapper, &file, 0), 0);
    let setup = || _ = set_up(&mapper, &file, 1);
    let removal = || _ = mapper.remove(WindowOffset(0), page_size());
    let reset = || _ = mapper.reset();
    let calls: [&dyn Fn(); 3] = [&setup, &removal, &reset];
    for call in calls {
        armed.store(true, SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
        assert_eq!(mapper.mappings().unwrap().len(), 1);
        assert_eq!(mapper.stats().live_mappings, 1);
    }
    thread::scope(|scope| assert_eq!(scope.spawn(|| set_up(&mapper, &file, 1)).join().unwrap(), 0));
    mapper.drain_all().unwrap();
    assert_eq!(mapper.stats().swept_count, 2);
}

#[test]
fn what_is_lent_stays_in_the_book_while_others_remove_and_map() {
    let page = page_size();
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(BASE, PAGES * page, Options::default(), |w| window.attach(w)).unwrap();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let request = |page_number: u64| MapRequest {
        file_offset: FileOffset(0),
        window_offset: WindowOffset(page_number * page),
        length: page,
        writable: false,
    };
    let lent = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..2_u64 {
            let (mapper, file, lent) = (&mapper, &file, &lent);
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    let number = (round.wrapping_mul(31).wrapping_add(seed)) % 4;
                    let _ = mapper.remove(WindowOffset(number * page), page);
                    let _ = mapper.setup(file.as_raw_fd(), &request(number), Overlap::Replace);
                }
            });
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    let offset = (round.wrapping_mul(17).wrapping_add(seed)) % 4 * page;
                    let Ok(loan) = mapper.resolve(GuestAddress(BASE.0 + offset), 1, false) else { continue };
                    let before = mapper.lookup(WindowOffset(offset)).unwrap();
                    thread::yield_now();
                    assert!(before.is_some(), "it is lent");
                    assert_eq!(mapper.lookup(WindowOffset(offset)).unwrap(), before);
                    assert_eq!(mapper.read(GuestAddress(BASE.0 + offset), 4).unwrap(), b"\x7fELF");
                    lent.fetch_add(1, SeqCst);
                    drop(loan);
                }
            });
        }
    });
    assert!(lent.load(SeqCst) > 1000, "something was lent");
    mapper.remove_range(WindowOffset(0), PAGES * page).unwrap();
    mapper.drain_all().unwrap();
    window.release().unwrap();
}
