//! What a front end asks of the device, message by message: one session.

use crate::device::Device;
use crate::queue::{Memory, Vring, Worker};
use crate::sys::abandoned;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserVirtioFeatures};
use vhost_user_backend::VhostUserBackend;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier};

/// Features of virtio: indirect descriptors, notifications by index, version 1 (VIRTIO 1.3, 6).
const VIRTIO_FEATURES: u64 = 1 << 28 | 1 << 29 | 1 << 32;
/// The longest queue: as many descriptors as one chain may have.
const QUEUE_SIZE: usize = 1024;

/// What there is of a front end.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    is_here: AtomicBool,
    was_here: AtomicBool,
}

impl Presence {
    fn came(&self) {
        self.is_here.store(true, SeqCst);
    }

    /// It is gone; whether it had come.
    pub(crate) fn left(&self) -> bool {
        let was_here = self.is_here.load(SeqCst);
        self.was_here.fetch_or(was_here, SeqCst);
        self.is_here.store(false, SeqCst);
        was_here
    }

    pub(crate) fn in_a_word(&self) -> &'static str {
        match (self.is_here.load(SeqCst), self.was_here.load(SeqCst)) {
            (true, _) => "connected",
            (false, true) => "gone",
            (false, false) => "none",
        }
    }
}

/// One front end, from its first message to its last.
pub(crate) struct FrontEnd {
    device: Arc<Device>,
    memory: Memory,
    /// Told when it first asks for something: who connects only to see that somebody listens does not.
    presence: Arc<Presence>,
    /// Where the guest's RAM lies, from before anything is mapped in the window, which the front end tells us of too.
    ram: OnceLock<Vec<(u64, u64)>>,
    /// Descriptors that the event loops leave open.
    exits: Mutex<Vec<RawFd>>,
}

impl FrontEnd {
    pub(crate) fn new(device: Arc<Device>, presence: Arc<Presence>) -> Self {
        Self {
            device,
            memory: Memory::new(GuestMemoryMmap::new()),
            presence,
            ram: OnceLock::new(),
            exits: Mutex::default(),
        }
    }

    /// The guest's memory, which the session's handler changes.
    pub(crate) fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Lets go of the session, whose threads have ended.
    pub(crate) fn end(&self) {
        let exits = std::mem::take(&mut *self.exits.lock().unwrap_or_else(PoisonError::into_inner));
        for fd in exits {
            drop(abandoned(fd));
        }
        self.device.end_session();
    }
}

impl VhostUserBackend for FrontEnd {
    type Bitmap = ();
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        self.device.settings().queues()
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        self.presence.came();
        VIRTIO_FEATURES | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    /// A front end that has no slots of memory of its own to configure knows eight regions, and each mapping is one.
    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        use VhostUserProtocolFeatures as Feature;
        let always = Feature::MQ | Feature::REPLY_ACK | Feature::CONFIG | Feature::CONFIGURE_MEM_SLOTS;
        // SHARED_OBJECT for a call that is answered when those before are done.
        let window = Feature::BACKEND_REQ | Feature::BACKEND_SEND_FD | Feature::SHMEM | Feature::SHARED_OBJECT;
        if self.device.window().is_some() { always | window } else { always }
    }

    /// The handler has told each queue already.
    fn set_event_idx(&self, _enabled: bool) {}

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        self.device.settings().config(offset, size)
    }

    /// It is the memory that [`Self::memory`] gave.
    fn update_memory(&self, _memory: Memory) -> io::Result<()> {
        Ok(())
    }

    fn set_backend_req_fd(&self, backend: vhost::vhost_user::Backend) {
        self.device.channel().open(backend);
    }

    fn get_shmem_config(&self) -> io::Result<VhostUserShMemConfig> {
        Ok(self.device.window().map_or_else(Default::default, |size| VhostUserShMemConfig::new(1, &[size])))
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        self.device.settings().queues_of_threads()
    }

    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        let (consumer, notifier) = new_event_consumer_and_notifier(EventFlag::CLOEXEC).ok()?;
        self.exits.lock().unwrap_or_else(PoisonError::into_inner).push(consumer.as_raw_fd());
        Some((consumer, notifier))
    }

    fn stop_vring(&self, queue: u32) -> io::Result<()> {
        self.device.channel().activity().stopped(queue);
        Ok(())
    }

    /// Never an error: that would end the thread.
    fn handle_event(&self, event: u16, _events: EventSet, vrings: &[Vring], thread: usize) -> io::Result<()> {
        let Some(vring) = vrings.get(usize::from(event)) else { return Ok(()) };
        let worker = Worker {
            device: &self.device,
            memory: &self.memory,
            ram: &self.ram,
            activity: self.device.channel().activity(),
            queue: u32::try_from(thread).unwrap_or(0), // a queue a thread
        };
        if let Err(error) = worker.drain(vring) {
            log::debug!(target: daxmap_core::LOG_TARGET, "queue {thread}: {error}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::is_waited_for;
    use crate::device::tests::device;

    #[test]
    fn a_queue_is_stopped_when_its_request_is_answered() {
        let device = Arc::new(device("stopped"));
        let front_end = FrontEnd::new(Arc::clone(&device), Arc::default());
        is_waited_for(device.channel().activity(), || front_end.stop_vring(0).unwrap());
    }
}
