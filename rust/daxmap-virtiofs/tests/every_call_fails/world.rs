//! A share, its server and a guest that knows it; and all that an operation might change or leave behind.

use crate::client::requests::{destroy, forget, getattr, lookup, mkdir, rmdir};
use crate::client::{ROOT, Reply, Request, ask, parse};
use crate::guest::{Known, first_init};
use crate::process::{self, Descriptor, descriptors, threads, threads_become};
use crate::sys::{self, Plan};
use crate::tree::{look, others, share};
use daxmap_core::fuse::Policy;
use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Mapping, Options as MapperOptions};
use daxmap_virtiofs::{Cache, FileServer, Options, Owner};
use std::collections::BTreeSet;
use std::ffi::c_long;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

const WINDOW: u64 = 16 * 4096;
/// The least that a server takes: it keeps the descriptors of few inodes then.
const MOST_OPEN: u64 = 64;

/// What a server is like, and what it has at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) owner: Owner,
    pub(crate) cache: Cache,
    /// Whether the descriptors of all inodes are closed: each has to be found again, by its place.
    pub(crate) cold: bool,
}

impl Kind {
    fn options(self) -> Options {
        let Self { owner, cache, .. } = self;
        Options { readonly: false, dax: Policy::Always, owner, cache, max_open: Some(MOST_OPEN) }
    }
}

/// What an operation may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) tree: String,
    pub(crate) inodes: usize,
    /// Descriptors of the share that are no mere paths.
    pub(crate) open: usize,
    /// Start, file offset, length, and whether the guest may store there.
    pub(crate) mappings: Vec<(u64, u64, u64, bool)>,
}

pub(crate) struct World {
    share: PathBuf,
    pub(crate) server: FileServer,
    mapper: Arc<Mapper>,
    window: HostWindowBackend,
    pub(crate) known: Known,
    /// What the process had before the server was.
    descriptors: usize,
    threads: BTreeSet<String>,
}

impl World {
    pub(crate) fn new(kind: Kind) -> Self {
        let share = share();
        let descriptors = descriptors().len();
        let window = HostWindowBackend::new().unwrap();
        let options = MapperOptions::default();
        let mapper = Mapper::new(GuestAddress(0), WINDOW, options, |range| window.attach(range)).unwrap();
        let mapper = Arc::new(mapper);
        let server = FileServer::new(&share, Some(Arc::clone(&mapper)), &kind.options()).unwrap();
        let known = Known::mount(&server);
        let world = Self { share, server, mapper, window, known, descriptors, threads: threads() };
        if kind.cold {
            world.look_at_others();
        }
        world
    }

    pub(crate) fn state(&self) -> State {
        let mut tree = String::new();
        look(&self.share, &mut tree);
        let is_open = |of: &Descriptor| !of.is_mere_path && of.path.starts_with(&self.share);
        let of = |mapping: &Mapping| {
            (mapping.span.start().0, mapping.file_offset.0, mapping.span.length(), mapping.writable)
        };
        State {
            tree,
            inodes: self.server.known_inodes(),
            open: descriptors().iter().filter(|of| is_open(of)).count(),
            mappings: self.mapper.mappings().map(|all| all.iter().map(of).collect()).unwrap_or_default(),
        }
    }

    /// Sends a request whose calls fail as planned; the reply, and which calls it made.
    pub(crate) fn ask(&self, request: &Request, plan: Plan) -> (Reply, Vec<c_long>) {
        let bytes = request.whole();
        let (reply, calls) = sys::with(plan, || self.server.answer(&bytes));
        (parse(request, reply), calls)
    }

    /// Looks at each inode, by its place; the errnos.
    pub(crate) fn found(&self) -> Vec<i32> {
        self.look_at_others();
        self.known.nodes().iter().map(|nodeid| ask(&self.server, &getattr(*nodeid)).errno).collect()
    }

    /// Has the server close the descriptors of what the guest knows.
    fn look_at_others(&self) {
        for other in others() {
            assert_eq!(ask(&self.server, &lookup(ROOT, &other)).errno, 0);
        }
    }

    /// What is wrong with the server: it should work as before.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for request in [mkdir(ROOT, "probe", 0o755, 0o22), rmdir(ROOT, "probe")] {
            let errno = ask(&self.server, &request).errno;
            if errno != 0 {
                faults.push(format!("afterwards errno {errno} to {request:?}"));
            }
        }
        if !threads_become(|threads| *threads == self.threads) {
            faults.push(format!("users, groups, umasks and directories of threads are {:?}", threads()));
        }
        faults
    }

    /// Whether the mapper has given its window up.
    pub(crate) fn has_given_up(&self) -> bool {
        self.mapper.is_closed()
    }

    /// The guest leaves, and so does the server; what is left of it.
    pub(crate) fn end(self) -> Vec<String> {
        let mut faults = Vec::new();
        let has_given_up = self.has_given_up();
        for nodeid in self.known.nodes() {
            ask(&self.server, &forget(nodeid, 1000));
        }
        assert_eq!(ask(&self.server, &destroy()).errno, 0);
        assert_eq!(self.server.known_inodes(), 0);
        let Self { share, server, mapper, window, descriptors, .. } = self;
        drop(server);
        faults.extend(mapper.drain_all().err().map(|error| format!("drain: {error}")));
        drop(mapper);
        let gave_up = window.release().is_err();
        if gave_up != has_given_up {
            faults.push(format!("the window is released: {}", !gave_up));
        }
        let left = process::descriptors();
        if left.len() != descriptors {
            faults.push(format!("descriptors are left: {left:?}"));
        }
        fs::remove_dir_all(share).unwrap();
        faults
    }
}

/// Starts a server whose calls fail as planned, and ends it, if it started; which calls that made, and what is wrong.
pub(crate) fn start(kind: Kind, plan: Plan) -> (Vec<c_long>, Vec<String>) {
    let (share, before) = (share(), descriptors().len());
    let (started, calls) = sys::with(plan, || FileServer::new(&share, None, &kind.options()));
    let mut faults = Vec::new();
    match started {
        Ok(server) => {
            let errno = ask(&server, &first_init()).errno + ask(&server, &mkdir(ROOT, "probe", 0o755, 0o22)).errno;
            faults.extend((errno != 0).then(|| format!("afterwards errno {errno}")));
        }
        Err(_) if plan.first.is_some() => {}
        Err(error) => faults.push(error.to_string()),
    }
    let left = descriptors();
    if left.len() != before {
        faults.push(format!("descriptors are left: {left:?}"));
    }
    if !threads_become(|threads| threads.len() == 1) {
        faults.push(format!("threads are left: {:?}", threads()));
    }
    (calls, faults)
}
