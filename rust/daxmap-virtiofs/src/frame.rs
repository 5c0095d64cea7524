//! One request and its reply in private memory, laid out as a virtqueue of two descriptors: the form in which
//! `fuse-backend-rs` takes a request. What it reads there, no guest changes any more.

use fuse_backend_rs::api::filesystem::FileSystem;
use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::transport::{Reader, VirtioFsWriter, Writer};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The longest request, in bytes: the value of an extended attribute, or two names, and the headers; a READ and a WRITE
/// don't pass here.
pub(crate) const LONGEST_REQUEST: usize = 72 << 10;
/// The longest reply, in bytes. A directory is read in pieces of this size.
pub(crate) const LONGEST_REPLY: usize = 72 << 10;

const QUEUE_SIZE: u16 = 2;
/// After the descriptors.
const AVAILABLE: u32 = 0x1000;
const USED: u32 = 0x2000;
const REQUEST: u64 = 0x3000;
const REPLY: u64 = REQUEST + LONGEST_REQUEST as u64;
const MEMORY: usize = 0x3000 + LONGEST_REQUEST + LONGEST_REPLY;

/// The descriptor is for the device to write to (`VIRTQ_DESC_F_WRITE`).
const TO_WRITE: u16 = 2;
/// Another follows (`VIRTQ_DESC_F_NEXT`).
const NEXT: u16 = 1;

/// Memory for one request at a time.
pub(crate) struct Frame {
    memory: GuestMemoryMmap,
    queue: Queue,
}

impl Frame {
    /// None where there is no memory.
    pub(crate) fn new() -> Option<Self> {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).ok()?;
        let mut queue = Queue::new(QUEUE_SIZE).ok()?;
        queue.set_size(QUEUE_SIZE);
        queue.set_desc_table_address(Some(0), Some(0));
        queue.set_avail_ring_address(Some(AVAILABLE), Some(0));
        queue.set_used_ring_address(Some(USED), Some(0));
        queue.set_ready(true);
        Some(Self { memory, queue })
    }

    /// Has a server answer a request, with a reply of at most `room` bytes; the reply, empty where there is none. None where
    /// the request breaks the format, or doesn't fit.
    pub(crate) fn answer<F: FileSystem + Sync>(
        &mut self,
        server: &Server<F>,
        request: &[u8],
        room: usize,
    ) -> Option<Vec<u8>> {
        let room = room.min(LONGEST_REPLY);
        self.lay_out(request, room)?;
        let chain = self.queue.pop_descriptor_chain(&self.memory)?;
        let reader = Reader::from_descriptor_chain(&self.memory, chain.clone()).ok()?;
        let writer = VirtioFsWriter::new(&self.memory, chain).ok()?;
        let length = server.handle_message(reader, Writer::VirtioFs(writer), None, None).ok()?;
        let mut reply = vec![0; length.min(room)];
        self.memory.read_slice(&mut reply, GuestAddress(REPLY)).ok()?;
        Some(reply)
    }

    fn lay_out(&mut self, request: &[u8], room: usize) -> Option<()> {
        let length = u32::try_from(request.len()).ok().filter(|_| request.len() <= LONGEST_REQUEST)?;
        let room = u32::try_from(room).ok()?;
        self.memory.write_slice(request, GuestAddress(REQUEST)).ok()?;
        let readable = RawDescriptor::from(Descriptor::new(REQUEST, length, NEXT, 1));
        let writable = RawDescriptor::from(Descriptor::new(REPLY, room, TO_WRITE, 0));
        self.memory.write_obj(readable, GuestAddress(0)).ok()?;
        self.memory.write_obj(writable, GuestAddress(size_of::<RawDescriptor>() as u64)).ok()?;
        // Flags, the index after the last, and the first: descriptor 0.
        self.memory.write_obj([0_u16, 1, 0], GuestAddress(u64::from(AVAILABLE))).ok()?;
        self.queue.set_next_avail(0);
        Some(())
    }
}
