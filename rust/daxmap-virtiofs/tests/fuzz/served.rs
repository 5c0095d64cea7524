//! A server to attack, and what holds for all its replies.

use super::guest::{Asked, Guest};
use super::tree::Tree;
use daxmap_core::fuse::{Policy, verify};
use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options as MapperOptions};
use daxmap_virtiofs::{Cache, FileServer, GuestSlice, Options, Owner};
use std::cell::Cell;
use std::sync::Arc;

const WINDOW: u64 = 16 * 4096;
pub(crate) const MOST_OPEN: u64 = 64;

/// A server of the tree's share, with a mapper of its own.
pub(crate) struct Served {
    pub(crate) server: FileServer,
    pub(crate) mapper: Arc<Mapper>,
    window: HostWindowBackend,
}

impl Served {
    pub(crate) fn new(tree: &Tree, readonly: bool, owner: Owner) -> Self {
        let window = HostWindowBackend::new().unwrap();
        let options = MapperOptions { readonly, ..MapperOptions::default() };
        let mapper = Mapper::new(GuestAddress(0), WINDOW, options, |range| window.attach(range)).unwrap();
        let mapper = Arc::new(mapper);
        let options = Options { readonly, dax: Policy::Always, owner, cache: Cache::Auto, max_open: Some(MOST_OPEN) };
        let server = FileServer::new(&tree.share(), Some(Arc::clone(&mapper)), &options).unwrap();
        Self { server, mapper, window }
    }

    /// Sends a request, in pieces or whole, and holds the reply to the rules; it is empty if there is none.
    pub(crate) fn send(&self, guest: &mut Guest, asked: &Asked) -> Vec<u8> {
        let reply = if guest.random.one_in(4) {
            self.send_in_pieces(guest, asked)
        } else {
            self.server.answer(&asked.bytes).unwrap_or_default()
        };
        check(asked, &reply);
        reply
    }

    fn send_in_pieces(&self, guest: &mut Guest, asked: &Asked) -> Vec<u8> {
        let mut reply = vec![0xee; guest.random.pick(&[0, 15, 16, 17, 100, 4096, 70_000, 100_000])];
        let room = reply.len();
        let cells = Cell::from_mut(&mut reply[..]).as_slice_of_cells();
        let size = guest.random.pick(&[1, 7, 16, 40, 81, 5000]);
        let readable: Vec<_> = asked.bytes.chunks(size).map(GuestSlice::readable).collect();
        let writable: Vec<_> = cells.chunks(size * 7).map(GuestSlice::writable).collect();
        let used = self.server.answer_into(&readable, &writable);
        assert!(used <= room, "{used} bytes of {room}");
        assert!(used == 0 || used >= 16, "{used} bytes are no reply");
        reply.truncate(used);
        reply
    }

    /// The guest leaves.
    pub(crate) fn forget_all(&self) {
        let reply = self.server.answer(&destroy()).unwrap();
        assert_eq!(reply[4..8], [0; 4]);
        assert_eq!(self.server.known_inodes(), 0);
        assert_eq!(self.mapper.live_mappings(), 0);
    }

    pub(crate) fn close(self) {
        drop(self.server);
        self.mapper.drain_all().unwrap();
        drop(self.mapper);
        self.window.release().unwrap();
    }
}

fn check(asked: &Asked, reply: &[u8]) {
    if reply.is_empty() {
        return;
    }
    assert!(!matches!(asked.opcode, 2 | 36 | 41 | 42), "opcode {} has no reply", asked.opcode);
    verify(asked.unique, reply).unwrap_or_else(|error| panic!("opcode {}: {error}", asked.opcode));
}

fn destroy() -> Vec<u8> {
    let mut request = [40_u32, 38, 9, 0].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    request.resize(40, 0);
    request
}
