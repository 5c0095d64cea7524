//! A directory, its server, and a guest that asks it.

use crate::client::requests;
use crate::client::{Reply, Request, long, parse};
use daxmap_core::fuse::Policy;
use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options as MapperOptions};
use daxmap_virtiofs::{Cache, FileServer, GuestSlice, Options, Owner};
use rustix::thread::{CapabilitySet, capabilities};
use std::cell::Cell;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const OPTIONS: Options =
    Options { readonly: false, dax: Policy::Always, owner: Owner::Host, cache: Cache::Auto, max_open: None };
const WINDOW: u64 = 2 << 20;

/// A directory of its own, removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("daxmap-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// All of it is exported.
    pub(crate) fn served(&self, options: Options) -> Guest {
        Guest(FileServer::new(&self.0, None, &options).unwrap())
    }

    /// One directory in it is.
    pub(crate) fn inner_served(&self, name: &str, options: Options) -> Guest {
        Guest(FileServer::new(&self.path(name), None, &options).unwrap())
    }

    pub(crate) fn mapped(&self, options: Options) -> Mapped {
        Mapped::new(&self.0, options)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A guest of a server.
pub(crate) struct Guest(pub(crate) FileServer);

impl Guest {
    pub(crate) fn ask(&self, request: &Request) -> Reply {
        parse(request, self.0.answer(&request.whole()))
    }

    /// The whole reply, in so much room, of a request that lies in small pieces.
    pub(crate) fn answer_within(&self, room: usize, request: &Request) -> Vec<u8> {
        let (request, mut reply) = (request.whole(), vec![0; room]);
        let cells = Cell::from_mut(&mut reply[..]).as_slice_of_cells();
        let readable: Vec<_> = request.chunks(7).map(GuestSlice::readable).collect();
        let writable: Vec<_> = cells.chunks(9).map(GuestSlice::writable).collect();
        let used = self.0.answer_into(&readable, &writable);
        reply.truncate(used);
        reply
    }

    /// The errno of a reply, 0 for success.
    pub(crate) fn errno(&self, request: &Request) -> i32 {
        self.ask(request).errno
    }

    /// What a request gives that succeeds.
    pub(crate) fn get(&self, request: &Request) -> Vec<u8> {
        let reply = self.ask(request);
        assert_eq!(reply.errno, 0, "{request:?}");
        reply.body
    }

    /// The inode of an entry.
    pub(crate) fn look_up(&self, parent: u64, name: &str) -> u64 {
        long(&self.get(&requests::lookup(parent, name)), 0)
    }

    pub(crate) fn open(&self, node: u64, flags: i32) -> u64 {
        long(&self.get(&requests::open(node, flags)), 0)
    }

    pub(crate) fn opendir(&self, node: u64) -> u64 {
        long(&self.get(&requests::opendir(node)), 0)
    }
}

/// A guest with a DAX window of 2 MiB.
pub(crate) struct Mapped {
    pub(crate) guest: Guest,
    pub(crate) mapper: Arc<Mapper>,
    window: HostWindowBackend,
}

impl Mapped {
    fn new(share: &Path, options: Options) -> Self {
        let window = HostWindowBackend::new().unwrap();
        let make = || Mapper::new(GuestAddress(0), WINDOW, MapperOptions::default(), |range| window.attach(range));
        let mapper = Arc::new(make().unwrap());
        let server = FileServer::new(share, Some(Arc::clone(&mapper)), &options).unwrap();
        Self { guest: Guest(server), mapper, window }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.mapper.drain_all().unwrap();
        self.window.release().unwrap();
    }
}

/// Whether this process may act as other users, and give files to them; if not, it says what is not tested.
pub(crate) fn may_act_as_others(what: &str) -> bool {
    let directory = Directory::new(&format!("others-{}", what.replace(' ', "-")));
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::FOWNER;
    let has_rights = capabilities(None).is_ok_and(|all| all.effective.contains(needed));
    let may = has_rights && chown(directory.path(""), Some(1000), Some(4321)).is_ok();
    if !may {
        eprintln!("SKIP: {what}: only root may, of a user namespace with more than one user");
    }
    may
}
