//! One front end after another.

use crate::device::Device;
use crate::keeper::Keeper;
use crate::notices::Notices;
use crate::vhost_user::{FrontEnd, Presence};
use rustix::net::Shutdown;
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use vhost::vhost_user::{Error as Message, Listener};
use vhost_user_backend::{Error, ShutdownHandle, VhostUserDaemon};

/// How long a service that can accept nobody waits before it tries again: until somebody has closed a descriptor, say.
const PAUSE: Duration = Duration::from_millis(200);

/// A device that front ends find at a socket.
#[derive(Debug)]
pub struct Service(Arc<Shared>);

struct Shared {
    device: Arc<Device>,
    notices: Notices,
    socket: UnixListener,
    /// Serves one front end, and no other.
    once: bool,
    stopping: AtomicBool,
    ended: AtomicBool,
    presence: Arc<Presence>,
    connection: Mutex<Option<ShutdownHandle>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("device", &self.device).field("once", &self.once).finish_non_exhaustive()
    }
}

impl Service {
    /// Starts to serve the front ends that connect to `socket`, in a thread. The notices' descriptor is readable when it has ended.
    ///
    /// # Errors
    /// EMFILE, and EAGAIN where there can be no thread.
    pub fn start(device: Arc<Device>, socket: &UnixListener, once: bool, notices: Notices) -> io::Result<Self> {
        let socket = socket.try_clone()?;
        let listener = Listener::from(socket.try_clone()?);
        let (stopping, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let (presence, connection) = (Arc::default(), Mutex::default());
        let shared = Arc::new(Shared { device, notices, socket, once, stopping, ended, presence, connection });
        let own = Arc::clone(&shared);
        thread::Builder::new().name("daxmap-serve".to_owned()).spawn(move || own.run(listener))?;
        Ok(Self(shared))
    }

    /// Whether it serves no longer.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.ended.load(SeqCst)
    }

    /// What there is of a front end: none, connected, gone.
    #[must_use]
    pub fn front_end(&self) -> &'static str {
        self.0.presence.in_a_word()
    }

    /// Lets go of the front end, and serves no other. It takes until the service has ended.
    pub fn stop(&self) {
        self.0.stopping.store(true, SeqCst);
        let _ = rustix::net::shutdown(&self.0.socket, Shutdown::Both); // wakes who waits for one
        if let Some(handle) = &*self.0.connection() {
            handle.shutdown();
        }
    }
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Option<ShutdownHandle>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut listener: Listener) {
        let mut troubled = false;
        while !self.stopping.load(SeqCst) {
            match self.session(&mut listener) {
                Ok(spoke) => {
                    troubled = false;
                    if spoke && self.once {
                        break;
                    }
                }
                Err(_) if self.stopping.load(SeqCst) => break,
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        self.notices.tell(format!("cannot take a front end: {error}"));
                    }
                    thread::sleep(PAUSE);
                }
            }
        }
        self.ended.store(true, SeqCst);
        self.notices.wake();
    }

    /// Serves the next front end, to its end. Whether it has asked for anything.
    fn session(&self, listener: &mut Listener) -> Result<bool, Error> {
        let front_end = Arc::new(FrontEnd::new(Arc::clone(&self.device), Arc::clone(&self.presence)));
        let daemon = VhostUserDaemon::new("daxmap-vhost".to_owned(), Arc::clone(&front_end), front_end.memory());
        let served = daemon.and_then(|daemon| self.serve(daemon, listener));
        front_end.end();
        let spoke = self.presence.left();
        if let (Some(error), true) = (served?, spoke) {
            self.notices.tell(format!("the front end is let go of: {error}"));
        }
        Ok(spoke)
    }

    /// Serves one front end until it is gone; the error that made us let go of it, if there was one.
    fn serve(
        &self,
        mut daemon: VhostUserDaemon<Arc<FrontEnd>>,
        listener: &mut Listener,
    ) -> Result<Option<Error>, Error> {
        daemon.start(listener)?;
        let _keeper = Keeper::start(Arc::clone(&self.device)).map_err(Error::StartDaemon)?;
        *self.connection() = daemon.shutdown_handle();
        if self.stopping.load(SeqCst) {
            daemon.request_shutdown();
        }
        let ended = daemon.wait();
        *self.connection() = None;
        Ok(match ended {
            Ok(()) | Err(Error::HandleRequest(Message::Disconnected | Message::PartialMessage)) => None,
            Err(error) => Some(error),
        })
        // Here the daemon goes, and with it its threads, each of which ends with the request that it is answering.
    }
}
