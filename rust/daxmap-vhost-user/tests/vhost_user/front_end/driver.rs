//! A guest's driver: one queue, one request at a time, in memory that it reads and writes as a file.

use super::Manner;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{Ordering::SeqCst, fence};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

/// Size of the guest's memory, which starts at guest address 0.
const MEMORY: u64 = 8 << 20;
/// Where the front end has it, as it says.
const BASE: u64 = 0x7000_0000_0000;
const QUEUE_SIZE: u16 = 4;
const DESCRIPTORS: u64 = 0;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const REQUEST: u64 = 1 << 20;
const REPLY: u64 = 4 << 20;
/// How long a reply may take before the test is given up, in milliseconds.
const PATIENCE: i32 = 30_000;

/// A message of a handshake.
pub(crate) type Step<'a> = Box<dyn Fn(&mut Frontend) -> vhost::Result<()> + 'a>;

/// A queue, and the memory it lies in.
#[derive(Debug)]
pub(crate) struct Driver {
    memory: File,
    queue: usize,
    kick: EventFd,
    call: EventFd,
    next: u16,
    event_idx: bool,
}

impl Driver {
    pub(crate) fn new(queue: usize, manner: Manner) -> Self {
        let memory = rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let memory = File::from(memory);
        memory.set_len(MEMORY).unwrap();
        let (kick, call) = (EventFd::new(0).unwrap(), EventFd::new(0).unwrap());
        Self { memory, queue, kick, call, next: 0, event_idx: manner.event_idx }
    }

    pub(crate) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: MEMORY,
            userspace_addr: BASE,
            mmap_offset: 0,
            mmap_handle: self.memory.as_raw_fd(),
        }
    }

    /// The messages that start the queue, in order.
    pub(crate) fn steps(&self) -> [Step<'_>; 6] {
        let queue = self.queue;
        let config = VringConfigData {
            queue_max_size: QUEUE_SIZE,
            queue_size: QUEUE_SIZE,
            flags: 0,
            desc_table_addr: BASE + DESCRIPTORS,
            used_ring_addr: BASE + USED,
            avail_ring_addr: BASE + AVAILABLE,
            log_addr: None,
        };
        [
            Box::new(move |front_end| front_end.set_vring_num(queue, QUEUE_SIZE)),
            Box::new(move |front_end| front_end.set_vring_base(queue, 0)),
            Box::new(move |front_end| front_end.set_vring_addr(queue, &config)),
            Box::new(move |front_end| front_end.set_vring_call(queue, &self.call)),
            Box::new(move |front_end| front_end.set_vring_kick(queue, &self.kick)),
            Box::new(move |front_end| front_end.set_vring_enable(queue, true)),
        ]
    }

    /// Puts a request into the queue, and tells the device.
    pub(crate) fn send(&mut self, request: &[u8], room: u32) {
        self.memory.write_all_at(request, REQUEST).unwrap();
        self.send_at(REQUEST, u32::try_from(request.len()).unwrap(), room);
    }

    /// The same, of a request that lies at an address.
    pub(crate) fn send_at(&mut self, address: u64, length: u32, room: u32) {
        let (reads, writes): (u16, u16) = (1, 2); // VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE
        self.descriptor(0, address, length, reads, 1);
        self.descriptor(1, REPLY, room, writes, 0);
        self.put(AVAILABLE + 4 + 2 * u64::from(self.next % QUEUE_SIZE), &0_u16.to_le_bytes());
        self.put(AVAILABLE + 4 + 2 * u64::from(QUEUE_SIZE), &self.next.to_le_bytes()); // used_event
        self.offer(1);
    }

    /// Says that so many more requests are there, and tells the device if it has asked for that (VIRTIO 1.3, 2.7.10).
    pub(crate) fn offer(&mut self, count: u16) {
        let before = self.next;
        self.next = before.wrapping_add(count);
        self.put(AVAILABLE + 2, &self.next.to_le_bytes());
        fence(SeqCst);
        if !self.event_idx || self.half(USED + 4 + 8 * u64::from(QUEUE_SIZE)) == before {
            self.kick.write(1).unwrap();
        }
    }

    /// The reply to what was sent; its length is the used length.
    pub(crate) fn reply(&self) -> Vec<u8> {
        let waiting = Epoll::new().unwrap();
        let mut event = [EpollEvent::new(EventSet::IN, 0)];
        waiting.ctl(ControlOperation::Add, self.call.as_raw_fd(), event[0]).unwrap();
        assert_eq!(waiting.wait(PATIENCE, &mut event).unwrap(), 1, "no reply");
        self.call.read().unwrap();
        assert_eq!(self.used(), self.next, "one reply a request");
        let mut length = [0; 4];
        let entry = USED + 4 + 8 * u64::from(self.next.wrapping_sub(1) % QUEUE_SIZE);
        self.memory.read_exact_at(&mut length, entry + 4).unwrap();
        let mut reply = vec![0; u32::from_le_bytes(length) as usize];
        self.memory.read_exact_at(&mut reply, REPLY).unwrap();
        reply
    }

    /// How many requests were answered.
    pub(crate) fn used(&self) -> u16 {
        self.half(USED + 2)
    }

    /// All that the device writes to when it answers.
    pub(crate) fn written(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        self.memory.read_exact_at(&mut bytes, USED).unwrap();
        bytes
    }

    fn half(&self, at: u64) -> u16 {
        let mut bytes = [0; 2];
        self.memory.read_exact_at(&mut bytes, at).unwrap();
        u16::from_le_bytes(bytes)
    }

    fn descriptor(&self, index: u64, address: u64, length: u32, flags: u16, next: u16) {
        let at = DESCRIPTORS + 16 * index;
        self.put(at, &address.to_le_bytes());
        self.put(at + 8, &length.to_le_bytes());
        self.put(at + 12, &flags.to_le_bytes());
        self.put(at + 14, &next.to_le_bytes());
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, at).unwrap();
    }
}
