//! Over a hypervisor that may refuse every call: what it shows to its guest is there, what it does not show is freed.

use crate::attempts::{Fate, Kind, Verdict};
use crate::budget::Alone;
use crate::files::File;
use crate::maps::{Piece, all, joined};
use crate::naive::Naive;
use crate::requests::{BASE, Request, Step, steps};
use daxmap_core::{
    Access, GuestAddress, HostRange, Hypervisor, HypervisorBackend, Mapper, Mapping, Options, Refusal, page_size,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

const PAGES: u64 = 10;
const FILE_SIZE: u64 = 5000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Map,
    Unmap,
    Protect,
}

/// What the guest is shown, and what is to come of the next calls (those after that succeed).
#[derive(Debug, Default)]
struct Guest {
    shown: BTreeMap<u64, (u64, u64, Access)>,
    plan: VecDeque<bool>,
    /// The calls of one request, and whether each was refused.
    calls: Vec<(Call, u64, bool)>,
}

impl Guest {
    fn called(&mut self, call: Call, at: GuestAddress) -> Result<(), Refusal> {
        let refused = self.plan.pop_front().unwrap_or(false);
        self.calls.push((call, at.0 - BASE, refused));
        if refused { Err(Refusal::io("refused on purpose")) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Cpu {
    guest: Arc<Mutex<Guest>>,
    can_protect: bool,
}

impl Hypervisor for Cpu {
    fn map(&mut self, memory: &HostRange, at: GuestAddress, access: Access) -> Result<(), Refusal> {
        let mut guest = self.guest.lock().unwrap();
        let (start, length) = (memory.start() as u64, memory.length() as u64);
        let free = guest.shown.iter().all(|(other, (_, long, _))| at.0 + length <= *other || other + long <= at.0);
        assert!(free, "{at} is in use");
        guest.called(Call::Map, at)?;
        guest.shown.insert(at.0, (start, length, access));
        Ok(())
    }

    fn unmap(&mut self, at: GuestAddress, length: u64) -> Result<(), Refusal> {
        let mut guest = self.guest.lock().unwrap();
        assert_eq!(guest.shown.get(&at.0).map(|shown| shown.1), Some(length));
        guest.called(Call::Unmap, at)?;
        guest.shown.remove(&at.0);
        Ok(())
    }

    fn protect(&mut self, at: GuestAddress, length: u64, access: Access) -> Option<Result<(), Refusal>> {
        let mut guest = self.guest.lock().unwrap();
        assert_eq!(guest.shown.get(&at.0).map(|shown| shown.1), Some(length));
        if !self.can_protect {
            return None;
        }
        let answer = guest.called(Call::Protect, at);
        if answer.is_ok() {
            guest.shown.get_mut(&at.0).unwrap().2 = access;
        }
        Some(answer)
    }
}

/// The calls of one request, and whether its descriptor is open for writing.
struct Told {
    calls: Vec<(Call, u64, bool)>,
    can_write: bool,
}

impl Told {
    fn take(&mut self, expected: Call, mapping: &Mapping) -> Verdict {
        let at = mapping.span.start().0;
        let found = self.calls.iter().position(|(call, there, _)| (*call, *there) == (expected, at));
        let index = found.unwrap_or_else(|| panic!("no {expected:?} of {mapping:?}, but {:?}", self.calls));
        if self.calls.remove(index).2 { Verdict::Refused(libc::EIO) } else { Verdict::Done }
    }

    /// New memory for old: unmap, map, and back to the old if that fails.
    fn exchange(&mut self, mapping: &Mapping) -> Verdict {
        if self.take(Call::Unmap, mapping) != Verdict::Done {
            return Verdict::Refused(libc::EIO);
        }
        if self.take(Call::Map, mapping) == Verdict::Done {
            return Verdict::Done;
        }
        match self.take(Call::Map, mapping) {
            Verdict::Done => Verdict::Refused(libc::EIO),
            _ => Verdict::Emptied(libc::EIO),
        }
    }
}

impl Fate for Told {
    fn of(&mut self, kind: Kind, mapping: &Mapping) -> Verdict {
        match kind {
            Kind::Unmap => self.take(Call::Unmap, mapping),
            _ if mapping.writable && !self.can_write => Verdict::Refused(libc::EACCES),
            Kind::Map => self.take(Call::Map, mapping),
            Kind::Upgrade if self.calls.first().is_some_and(|first| first.0 == Call::Protect) => {
                self.take(Call::Protect, mapping)
            }
            Kind::Upgrade => self.exchange(mapping),
        }
    }

    fn check_all_told(&self) {
        assert_eq!(self.calls, [], "not asked for");
    }
}

/// What stands behind the window: the files, and for each offset what was mapped there last, shared or private.
struct Behind<'a> {
    files: &'a [File],
    readonly: bool,
    memory: BTreeMap<u64, (Mapping, bool)>,
}

impl Behind<'_> {
    /// Takes note of a request that succeeded.
    fn learn(&mut self, request: &Request, naive: &Naive) {
        if let &Request::Setup { file, offset, writable, .. } = request {
            let mapping = naive.live.iter().find(|mapping| mapping.span.start().0 == offset).unwrap();
            let shared = writable || (self.files[file].writable && !self.readonly);
            self.memory.insert(offset, (*mapping, shared));
        }
    }

    /// The process maps of the files what the guest is shown, and nothing else. What it may not write it can't, and what
    /// is not to reach a file is private.
    fn check(&self, guest: &Guest) {
        let mut expected = Vec::new();
        for (at, (start, length, access)) in &guest.shown {
            let (mapping, shared) = self.memory[&(at - BASE)];
            assert_eq!(*access == Access::ReadWriteExecute, mapping.writable);
            assert_eq!(*length, mapping.span.length());
            expected.push(Piece {
                start: *start,
                end: start + length,
                access: if shared { "rw-s" } else { "rw-p" },
                inode: mapping.file.ino,
                file_offset: mapping.file_offset.0,
            });
        }
        let mut mapped = all();
        mapped.retain(|piece| self.files.iter().any(|file| file.id.ino == piece.inode));
        assert_eq!(joined(mapped), joined(expected));
    }
}

#[derive(Clone, Debug)]
struct Case {
    readonly: bool,
    can_protect: bool,
    steps: Vec<(Step, Vec<bool>)>,
}

fn case() -> impl Strategy<Value = Case> {
    let page = page_size();
    let offsets = (0..PAGES).map(|number| number * page).collect();
    let lengths = vec![page, page, 2 * page];
    let plan = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<bool>(), 1..5)];
    let steps = prop::collection::vec((steps(offsets, lengths, 4), plan), 1..30);
    (prop::bool::weighted(0.1), any::<bool>(), steps).prop_map(|(readonly, can_protect, steps)| Case {
        readonly,
        can_protect,
        steps,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn guest_process_and_model_agree_whatever_is_refused(case in case()) {
        let _alone = Alone::new();
        let files: Vec<File> = [File::pair(FILE_SIZE), File::pair(FILE_SIZE)].into_iter().flatten().collect();
        let guest = Arc::new(Mutex::new(Guest::default()));
        let cpu = Cpu { guest: Arc::clone(&guest), can_protect: case.can_protect };
        let options = Options { readonly: case.readonly, ..Options::default() };
        let mapper = Mapper::new(GuestAddress(BASE), PAGES * page_size(), options, |window| {
            Ok(Box::new(HypervisorBackend::new(cpu, window, options.readonly)))
        });
        let mapper = mapper.unwrap();
        let mut naive = Naive::new(&mapper, files.iter().map(|file| file.id).collect(), None);
        let mut behind = Behind { files: &files, readonly: case.readonly, memory: BTreeMap::new() };
        for (step, plan) in case.steps {
            let request = step.resolve(&naive);
            if matches!(request, Request::Read(..) | Request::Write(..)) {
                continue; // which pages lie past the end of the file is not the model's to know
            }
            guest.lock().unwrap().plan = plan.into();
            let answer = request.make(&mapper, &files);
            let mut guest = guest.lock().unwrap();
            guest.plan.clear();
            let can_write = !matches!(request, Request::Setup { file, .. } if !files[file].writable);
            let mut told = Told { calls: std::mem::take(&mut guest.calls), can_write };
            let expected = naive.answer(&request, &mut told);
            if expected.errno == 0 && !naive.closed {
                behind.learn(&request, &naive);
            }
            prop_assert_eq!(answer, expected, "{:?}", request);
            naive.agrees_with(&mapper);
            behind.check(&guest);
        }
        mapper.drain_all().unwrap();
        prop_assert_eq!(guest.lock().unwrap().shown.len() as u64, mapper.stats().leaked_count);
    }
}
