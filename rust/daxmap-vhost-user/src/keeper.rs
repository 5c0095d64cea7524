//! Keeps copies in step where no request comes: a host that reads what the guest has stored, or the other way round, sees it
//! soon.

use crate::device::Device;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How old a copy may be.
const PERIOD: Duration = Duration::from_secs(1);

/// Keeps the copies of a device in step until it is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn start(device: Arc<Device>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let keep = move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                device.keep_copies();
            }
        };
        let thread = thread::Builder::new().name("daxmap-keeper".to_owned()).spawn(keep)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nobody to tell if it panicked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::device;

    #[test]
    fn a_keeper_that_is_gone_uses_its_device_no_more() {
        let device = Arc::new(device("kept"));
        drop(Keeper::start(Arc::clone(&device)).unwrap());
        assert_eq!(Arc::strong_count(&device), 1);
    }
}
