//! A queue: descriptor chains in, used lengths out.

use crate::activity::Activity;
use crate::buffers::Buffers;
use crate::device::{Answer, Device};
use crate::request::Head;
use daxmap_core::LOG_TARGET;
use daxmap_virtiofs::GuestSlice;
use std::cell::Cell;
use std::sync::OnceLock;
use vhost_user_backend::{VringMutex, VringT};
use virtio_queue::{QueueOwnedT, QueueT};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// A guest's memory, which changes as the front end plugs regions in and out.
pub(crate) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;
pub(crate) type Vring = VringMutex<Memory>;

/// The most bytes that a reply may have which is not written to RAM: what a guest asks for at most, and a header.
const MOST_OUTSIDE_RAM: usize = (1 << 20) + 4096;

/// One queue of a device.
#[derive(Clone, Copy)]
pub(crate) struct Worker<'a> {
    pub(crate) device: &'a Device,
    pub(crate) memory: &'a Memory,
    /// Where the guest's RAM lies, once it may have other memory.
    pub(crate) ram: &'a OnceLock<Vec<(u64, u64)>>,
    pub(crate) activity: &'a Activity,
    /// The queue's number.
    pub(crate) queue: u32,
}

/// A request whose buffers lie in RAM.
struct Request<'a> {
    head: Head,
    readable: Vec<GuestSlice<'a>>,
    writable: Vec<GuestSlice<'a>>,
}

impl<'a> Request<'a> {
    /// None where a buffer lies in no memory.
    fn of(memory: &'a GuestMemoryMmap, (readable, writable): &(Buffers, Buffers)) -> Option<Self> {
        let (readable, writable) = (readable.slices(memory)?, writable.slices(memory)?);
        Some(Self { head: Head::of(&readable), readable, writable })
    }
}

impl Worker<'_> {
    /// Answers all requests that wait in a queue.
    pub(crate) fn drain(&self, vring: &Vring) -> Result<(), virtio_queue::Error> {
        while self.next(vring)? {}
        Ok(())
    }

    /// Answers the next request; or asks to be told of one, if there is none.
    fn next(&self, vring: &Vring) -> Result<bool, virtio_queue::Error> {
        let _busy = self.activity.begin(self.queue); // before the look at the queue, which may be stopped just now
        let memory = self.memory.memory();
        let mut state = vring.get_mut();
        let queue = state.get_queue_mut();
        if !queue.ready() {
            return Ok(false);
        }
        let mut chain = queue.iter(&*memory)?.next();
        if chain.is_none() && queue.enable_notification(&*memory)? {
            // One came before the guest could know. No third look: a broken ring says for ever that there are more.
            chain = queue.iter(&*memory)?.next();
        }
        let Some(chain) = chain else { return Ok(false) };
        let (index, buffers) = (chain.head_index(), Buffers::of_chain(&chain));
        // The queue may be stopped while such a request waits for the front end, and goes on from it later. Others are waited
        // for: they must not be answered twice.
        let in_ram = self.in_ram(&buffers);
        let request = if in_ram { Request::of(&memory, &buffers) } else { None };
        let may_come_again = request.as_ref().is_some_and(|request| request.head.concerns_window());
        let next = queue.next_avail();
        let goes_on_from = if may_come_again { next.wrapping_sub(1) } else { next };
        queue.set_next_avail(goes_on_from);
        drop(state);
        let answer = match request {
            Some(Request { head, readable, writable }) => {
                self.device.answer(head, &readable, &writable, || self.regions())
            }
            None if in_ram => {
                log::debug!(target: LOG_TARGET, "a request lies in no memory: chain {index}");
                Answer::Written(0)
            }
            None => self.answer_outside_ram(&memory, &buffers.0, &buffers.1),
        };
        let mut state = vring.get_mut();
        let queue = state.get_queue_mut();
        if !queue.ready() || queue.next_avail() != goes_on_from {
            return Ok(false); // stopped, or begun anew: the guest's memory may serve another purpose by now
        }
        queue.set_next_avail(next);
        let used = match answer {
            Answer::Written(length) => length,
            Answer::ToWrite(reply) => write(&memory, &buffers.1, &reply),
        };
        state.add_used(index, u32::try_from(used).unwrap_or(u32::MAX))?;
        if state.needs_notification()? {
            let _ = state.signal_used_queue(); // the front end is gone if that fails
        }
        Ok(true)
    }

    /// Whether no buffer lies in the window, where pages may be gone at any time.
    fn in_ram(&self, (readable, writable): &(Buffers, Buffers)) -> bool {
        self.ram.get().is_none_or(|ram: &Vec<_>| readable.in_ram(ram) && writable.in_ram(ram))
    }

    /// How many regions of memory the guest has. Asked for the first time before anything is shown in the window, which is
    /// when all of them are RAM.
    fn regions(&self) -> u64 {
        let memory = self.memory.memory();
        let all = || memory.iter().map(|region| (region.start_addr().0, region.len())).collect();
        self.ram.get_or_init(all);
        memory.num_regions() as u64
    }

    /// Buffers in the window: a guest reads one file straight into the mapping of another. They are copied in a way that
    /// survives pages which are cut off meanwhile.
    fn answer_outside_ram(&self, memory: &GuestMemoryMmap, readable: &Buffers, writable: &Buffers) -> Answer {
        let Ok(request) = readable.read(memory, MOST_OUTSIDE_RAM) else { return Answer::Written(0) };
        let mut reply = vec![0; writable.total().min(MOST_OUTSIDE_RAM)];
        let answer = {
            let cells = Cell::from_mut(reply.as_mut_slice()).as_slice_of_cells();
            let (request, cells) = (GuestSlice::readable(&request), GuestSlice::writable(cells));
            self.device.answer(Head::of(&[request]), &[request], &[cells], || self.regions())
        };
        match answer {
            Answer::Written(length) => {
                reply.truncate(length);
                Answer::ToWrite(reply)
            }
            later @ Answer::ToWrite(_) => later,
        }
    }
}

/// Writes a reply; how many bytes it has, or 0 where it does not fit.
fn write(memory: &GuestMemoryMmap, buffers: &Buffers, reply: &[u8]) -> usize {
    if reply.len() > buffers.total() {
        return 0;
    }
    buffers.write(memory, &mut reply.to_vec()).map_or(0, |()| reply.len())
}
