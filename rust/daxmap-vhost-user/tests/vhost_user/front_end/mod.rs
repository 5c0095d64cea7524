//! A front end in this process: it shakes hands with the device, has a window, and runs a guest's driver.
#![allow(dead_code, unused_imports)] // each test program uses a part of it

mod driver;
mod fuse;
mod screen;

pub(crate) use driver::{Driver, Step};
pub(crate) use fuse::words;
pub(crate) use screen::{Manner, PLAIN, QEMU, Refusals, Screen, WINDOW_ADDRESS};

use daxmap_core::fuse::Policy;
use daxmap_vhost_user::{Device, Notices, Service, Settings, Socket};
use daxmap_virtiofs::{Cache, Options, Owner};
use std::cell::RefCell;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;
use vhost::VhostBackend;
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures as Feature};
use vhost::vhost_user::{Error, Frontend, VhostUserFrontend};

pub(crate) const WINDOW: u64 = 16 << 20;
pub(crate) const RANGE: u64 = 2 << 20;
pub(crate) const PAGE: u64 = 4096;

/// A share that is served in this process, of a directory that goes with it.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) directory: PathBuf,
    pub(crate) device: Arc<Device>,
    pub(crate) service: Service,
    pub(crate) notices: Notices,
    socket: PathBuf,
    bound: Socket,
}

pub(crate) fn options(readonly: bool, dax: Policy) -> Options {
    Options { readonly, dax, owner: Owner::Host, cache: Cache::Auto, max_open: None }
}

/// A directory of this process's own.
pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("daxmap-vhost-user-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).unwrap();
    folder
}

impl Share {
    pub(crate) fn new() -> Self {
        Self::with(false, Policy::Always, false)
    }

    pub(crate) fn with(readonly: bool, dax: Policy, once: bool) -> Self {
        let directory = folder();
        let socket = directory.with_extension("sock");
        let bound = Socket::bind(&socket).unwrap();
        let notices = Notices::new().unwrap();
        let settings = Settings { tag: "share".to_owned(), window: Some(WINDOW), threads: 1, readonly };
        let device = Device::new(&directory, settings, &options(readonly, dax), notices.clone()).unwrap();
        let device = Arc::new(device);
        let service = Service::start(Arc::clone(&device), bound.listener(), once, notices.clone()).unwrap();
        Self { directory, device, service, notices, socket, bound }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        self.bound.listener()
    }

    /// Waits until nobody is served any more.
    pub(crate) fn stop(&self) {
        self.service.stop();
        while !self.service.has_ended() {
            std::thread::yield_now();
        }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.directory.join(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.join(name)).unwrap()
    }

    pub(crate) fn connect(&self) -> Frontend {
        let front_end = Frontend::connect(&self.socket, 2).unwrap();
        front_end.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        front_end
    }

    /// Waits until the front end that was there is let go of.
    pub(crate) fn wait_until_gone(&self) {
        while self.service.front_end() != "gone" {
            std::thread::yield_now();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.stop();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// A front end that has a guest.
pub(crate) struct Guest {
    pub(crate) front_end: Frontend,
    pub(crate) screen: Arc<Screen>,
    pub(crate) driver: RefCell<Driver>,
    window: Option<(JoinHandle<()>, UnixStream)>,
    unique: RefCell<u64>,
    pub(crate) connection: Connection,
}

/// The messages of a handshake, by number: as many as [`shake_hands`] sends.
pub(crate) const STEPS: usize = 16;

/// Shakes hands, as far as the first so many messages.
pub(crate) fn shake_hands(
    front_end: &mut Frontend,
    driver: &Driver,
    channel: &impl AsRawFd,
    manner: Manner,
    steps: usize,
) -> vhost::Result<()> {
    let virtio = 1_u64 << 32 | 1 << 30 | u64::from(manner.event_idx) << 29;
    let wanted = Feature::MQ | Feature::CONFIG | Feature::CONFIGURE_MEM_SLOTS | Feature::SHMEM;
    let wanted = wanted | Feature::BACKEND_REQ | Feature::BACKEND_SEND_FD;
    let wanted = if manner.late { wanted | Feature::SHARED_OBJECT } else { wanted };
    let acks = if manner.acks { Feature::REPLY_ACK } else { Feature::empty() };
    let first: [Step<'_>; 10] = [
        Box::new(|front_end| front_end.get_features().map(drop)),
        Box::new(|front_end| front_end.get_protocol_features().map(drop)),
        Box::new(move |front_end| {
            let offered = front_end.get_protocol_features()?;
            front_end.set_protocol_features((wanted | acks) & offered)
        }),
        Box::new(|front_end| front_end.get_queue_num().map(drop)),
        Box::new(|front_end| front_end.set_owner()),
        Box::new(|front_end| front_end.get_config(0, 40, VhostUserConfigFlags::empty(), &[0; 40]).map(drop)),
        Box::new(|front_end| match front_end.get_shmem_config() {
            Err(vhost::Error::VhostUserProtocol(Error::InactiveOperation(_))) => Ok(()),
            answer => answer.map(drop),
        }),
        Box::new(|front_end| {
            let sent = front_end.set_backend_request_fd(channel);
            if matches!(sent, Err(vhost::Error::VhostUserProtocol(Error::InactiveOperation(_)))) {
                Ok(())
            } else {
                sent
            }
        }),
        Box::new(move |front_end| front_end.set_features(virtio)),
        Box::new(|front_end| front_end.set_mem_table(&[driver.region()]).map(drop)),
    ];
    let all = first.into_iter().chain(driver.steps());
    all.take(steps).try_for_each(|step| step(front_end))
}

/// The window has a hand on the connection, which is let go of when this is dropped.
pub(crate) struct Connection(Arc<Screen>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.forget_device();
    }
}

impl Guest {
    pub(crate) fn new(share: &Share, manner: Manner) -> Self {
        let driver = Driver::new(1, manner);
        let screen = Arc::new(Screen::new(manner, WINDOW));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut front_end = share.connect();
        shake_hands(&mut front_end, &driver, &theirs, manner, STEPS).unwrap();
        screen.tell(front_end.clone());
        let (own, channel) = (Arc::clone(&screen), ours.try_clone().unwrap());
        let window = std::thread::spawn(move || own.answer(channel));
        Self { window: Some((window, ours)), ..Self::over(front_end, driver, screen) }
    }

    /// One whose handshake is over.
    pub(crate) fn over(front_end: Frontend, driver: Driver, screen: Arc<Screen>) -> Self {
        let connection = Connection(Arc::clone(&screen));
        let (driver, unique) = (RefCell::new(driver), RefCell::new(0));
        Self { front_end, screen, driver, window: None, unique, connection }
    }

    /// Vanishes, and waits until all of it has.
    pub(crate) fn end(self) {
        let window = self.window;
        drop((self.front_end, self.connection));
        window.unwrap().0.join().unwrap();
    }

    /// Closes the channel on which it is told to map.
    pub(crate) fn close_channel(&self) {
        self.window.as_ref().unwrap().1.shutdown(Shutdown::Both).unwrap();
    }

    /// Stops the queue; from which request on it would go on.
    pub(crate) fn stop_queue(&self) -> u32 {
        self.front_end.get_vring_base(1).unwrap()
    }
}

pub(crate) fn fd_count() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A file whose last page is cut: two whole pages, and 100 bytes.
pub(crate) fn content() -> Vec<u8> {
    (0..2 * PAGE + 100).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

pub(crate) fn started(share: &Share, manner: Manner) -> Guest {
    let guest = Guest::new(share, manner);
    assert!(guest.init(), "DAX is offered");
    guest.screen.calls();
    guest
}
