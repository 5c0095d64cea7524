//! The mapper's name, what it logs, and what it warned of.

use crate::fixture::{Numbered, address, end, mapper};
use crate::told;
use daxmap_core::{Error, HostWindowBackend, LOG_TARGET, Mapper, Options, WindowOffset, page_size};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{Mutex, OnceLock};

/// Keeps all records of the process. A test finds its own by the name of its mapper.
struct Keeper(Mutex<Vec<(Level, String)>>);

impl Log for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        assert_eq!(record.target(), LOG_TARGET);
        self.0.lock().unwrap().push((record.level(), record.args().to_string()));
    }

    fn flush(&self) {}
}

fn keeper() -> &'static Keeper {
    static KEEPER: OnceLock<&'static Keeper> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let keeper: &'static Keeper = Box::leak(Box::new(Keeper(Mutex::default())));
        log::set_logger(keeper).unwrap();
        log::set_max_level(LevelFilter::Trace);
        keeper
    })
}

fn named(name: &str) -> (Mapper, HostWindowBackend) {
    keeper();
    let (mapper, window) = mapper(Options::default());
    (mapper.named(name.to_owned()), window)
}

/// What was logged of a mapper, without its label.
fn records(name: &str) -> Vec<(Level, String)> {
    let records = keeper().0.lock().unwrap();
    let of_it = |(level, text): &(Level, String)| Some((*level, text.strip_prefix(&format!("{name}: "))?.to_owned()));
    records.iter().filter_map(of_it).collect()
}

#[test]
fn a_name_is_told_and_its_label_is_one_line() {
    for (name, label) in [("root", "root: "), ("", ""), ("a\nb", "a\\nb: ")] {
        let case = named(name);
        assert_eq!((case.0.name(), case.0.label()), (name, label));
        end(case);
    }
    let case = mapper(Options::default());
    assert_eq!((case.0.name(), case.0.label()), ("", ""));
    let debug = format!("{:?}", case.0);
    assert!(debug.starts_with("Mapper { window: ") && debug.contains("live_mappings: 0, closed: false"), "{debug}");
    end(case);
}

#[test]
fn each_success_is_a_debug_record_and_each_failure_a_warning() {
    let case = named("records");
    let (mapper, file) = (&case.0, Numbered::new(page_size()));
    let page = page_size();
    file.show(mapper, 0, 1, 1, false);
    mapper.remove(WindowOffset(page), page).unwrap();
    let refused = mapper.remove(WindowOffset(page), page).unwrap_err();
    mapper.remove_range(WindowOffset(0), page).unwrap();
    mapper.reset().unwrap();
    mapper.drain_all().unwrap();
    let records = records("records");
    let debug = Level::Debug;
    let levels: Vec<_> = records.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [debug, debug, Level::Warn, debug, debug, debug], "{records:?}");
    assert!(records[0].1.starts_with(&format!("set up [{page:#x}, {:#x}): read-only of file ", 2 * page)));
    assert_eq!(records[2].1, format!("remove_mapping: {refused}"));
    assert_eq!(mapper.warnings().last().unwrap().1, format!("records: remove_mapping: {refused}"));
    assert_eq!(mapper.stats().errors, [(libc::ENOENT, 1)]);
    end(case);
}

#[test]
fn a_mapper_that_was_not_drained_says_so_when_it_is_dropped() {
    let (mapper, window) = named("dropped");
    let file = Numbered::new(page_size());
    file.show(&mapper, 0, 3, 1, false);
    drop(mapper);
    let base = address(0, 0);
    let warned = (Level::Warn, format!("mapper at {base} dropped without drain_all(), with 1 live mappings"));
    assert!(records("dropped").contains(&warned));
    window.release().unwrap();
    let (mapper, window) = named("drained");
    file.show(&mapper, 0, 3, 1, false);
    mapper.drain_all().unwrap();
    drop(mapper);
    assert!(records("drained").iter().all(|(level, _)| *level == Level::Debug));
    window.release().unwrap();
}

#[test]
fn a_window_that_nobody_will_release_says_so() {
    for mapper_first in [true, false] {
        let name = format!("kept {mapper_first}");
        let (mapper, window) = named(&name);
        let address = mapper.host_address().unwrap();
        let text = format!("host window at {address:#x} dropped without release(): its addresses stay reserved");
        if mapper_first {
            mapper.drain_all().unwrap();
            drop(window);
            assert!(keeper().0.lock().unwrap().contains(&(Level::Warn, text)));
        } else {
            drop(window);
            mapper.drain_all().unwrap();
            assert!(records(&name).contains(&(Level::Warn, text)));
        }
    }
}

fn notes() -> Vec<String> {
    (0..12).map(|number| format!("note {number}")).collect()
}

#[test]
fn what_a_backend_notes_is_logged_as_far_as_a_guest_may_fill_the_log() {
    keeper();
    let (mapper, told) = told::mapper("notes", Options::default());
    told.0.lock().unwrap().notes = notes();
    Numbered::new(page_size()).show(&mapper, 0, 0, 1, false);
    let warned: Vec<_> = records("notes").into_iter().filter(|(level, _)| *level == Level::Warn).collect();
    assert_eq!(warned.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(), notes()[..10]);
    assert_eq!(mapper.warnings().last().unwrap().1, "notes: note 9");
    mapper.drain_all().unwrap();
}

#[test]
fn what_a_mapper_says_when_it_closes_is_not_held_back() {
    keeper();
    let (mapper, told) = told::mapper("out of control", Options::default());
    let file = Numbered::new(page_size());
    file.show(&mapper, 0, 0, 1, false);
    (0..20).for_each(|_| assert!(mapper.remove(WindowOffset(0), 2 * page_size()).is_err())); // the guest's share of the log
    *told.0.lock().unwrap() = told::Answers { notes: notes(), out_of_control: true, ..told::Answers::default() };
    let refused = mapper.remove(WindowOffset(0), page_size()).unwrap_err();
    assert!(matches!(refused, Error::OutOfControl { .. }));
    assert!(mapper.is_closed());
    let records: Vec<_> = records("out of control").into_iter().map(|(_, text)| text).collect();
    let last = records.iter().rposition(|text| text.starts_with("note ")).unwrap();
    assert_eq!(records[last - 9..=last], notes()[..10]);
    assert!(records[last + 1].starts_with("... and "), "{records:?}");
}

#[test]
fn what_the_guest_may_still_reach_is_told_when_the_mapper_closes() {
    keeper();
    let (mapper, told) = told::mapper("leaked", Options::default());
    Numbered::new(page_size()).show(&mapper, 0, 3, 1, false);
    told.0.lock().unwrap().refuses = true;
    mapper.drain_all().unwrap();
    let span = format!("[{:#x}, {:#x})", 3 * page_size(), 4 * page_size());
    let leaked = (Level::Warn, format!("range {span} is leaked: the guest may still reach it"));
    assert!(records("leaked").contains(&leaked), "{:?}", records("leaked"));
    assert_eq!(mapper.stats().leaked_count, 1);
}
