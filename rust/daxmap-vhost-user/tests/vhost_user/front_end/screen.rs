//! A front end's window: what it has been told to show.

use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use vhost::VhostUserMemoryRegionInfo;
use vhost::vhost_user::message::VhostUserMMap;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vm_memory::ByteValued;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// How a front end behaves.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a way to differ
pub(crate) struct Manner {
    pub(crate) past_end: bool,
    pub(crate) replaces: bool,
    pub(crate) read_only: bool,
    /// Answers each call.
    pub(crate) acks: bool,
    /// Tells the device of each mapping, as of a region of the guest's memory.
    pub(crate) tells: bool,
    /// Shows what it has been told to after it has answered: when the next call comes, at the latest.
    pub(crate) late: bool,
    /// Its guest is told, and tells, only of the requests that were asked for (`VIRTIO_F_EVENT_IDX`).
    pub(crate) event_idx: bool,
}

/// As QEMU 11.1.
pub(crate) const QEMU: Manner =
    Manner { past_end: false, replaces: false, read_only: false, acks: true, tells: true, late: true, event_idx: true };
/// As one that calls `mmap(MAP_FIXED)`, and nothing else.
pub(crate) const PLAIN: Manner =
    Manner { past_end: true, replaces: true, read_only: true, acks: true, tells: false, late: false, event_idx: false };

#[derive(Debug)]
struct Shown {
    length: u64,
    file: File,
    file_offset: u64,
    writable: bool,
}

/// What is refused, after so many more that are not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) maps: Option<usize>,
    pub(crate) unmaps: Option<usize>,
    /// Calls of all kinds: it closes the channel.
    pub(crate) calls: Option<usize>,
}

impl Refusals {
    /// Whether this one is refused.
    fn pass(after: &mut Option<usize>) -> io::Result<()> {
        let Some(left) = after else { return Ok(()) };
        *left = left.checked_sub(1).ok_or_else(refused)?;
        Ok(())
    }
}

/// The window.
pub(crate) struct Screen {
    manner: Manner,
    size: u64,
    shown: Mutex<BTreeMap<u64, Shown>>,
    refusals: Mutex<Refusals>,
    calls: Mutex<Vec<String>>,
    /// To whom it tells of mappings.
    device: Mutex<Option<Frontend>>,
    hold: Arc<Hold>,
}

#[derive(Debug, Default)]
struct Hold {
    state: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    /// Whether they are to wait.
    are_held: bool,
    one_waits: bool,
}

/// Calls wait until this is dropped.
pub(crate) struct Held(Arc<Hold>);

impl Held {
    /// Waits until a call waits.
    pub(crate) fn wait(&self) {
        drop(self.0.changed.wait_while(self.0.state.lock().unwrap(), |calls| !calls.one_waits).unwrap());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.state.lock().unwrap() = Calls::default();
        self.0.changed.notify_all();
    }
}

/// Where the window lies in the guest's memory.
pub(crate) const WINDOW_ADDRESS: u64 = 1 << 32;
/// Where the front end has it, as it says.
const WINDOW_BASE: u64 = 0x7100_0000_0000;

fn region(offset: u64, shown: &Shown) -> VhostUserMemoryRegionInfo {
    VhostUserMemoryRegionInfo {
        guest_phys_addr: WINDOW_ADDRESS + offset,
        memory_size: shown.length,
        userspace_addr: WINDOW_BASE + offset,
        mmap_offset: shown.file_offset,
        mmap_handle: shown.file.as_raw_fd(),
    }
}

fn refused() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

impl Screen {
    pub(crate) fn new(manner: Manner, size: u64) -> Self {
        let (shown, refusals, calls) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { manner, size, shown, refusals, calls, device: Mutex::default(), hold: Arc::default() }
    }

    pub(crate) fn tell(&self, device: Frontend) {
        *self.device.lock().unwrap() = Some(device).filter(|_| self.manner.tells);
    }

    pub(crate) fn forget_device(&self) {
        *self.device.lock().unwrap() = None;
    }

    /// Has calls wait.
    pub(crate) fn hold(&self) -> Held {
        *self.hold.state.lock().unwrap() = Calls { are_held: true, one_waits: false };
        Held(Arc::clone(&self.hold))
    }

    fn wait_if_held(&self) {
        let mut calls = self.hold.state.lock().unwrap();
        calls.one_waits = calls.are_held;
        self.hold.changed.notify_all();
        drop(self.hold.changed.wait_while(calls, |calls| calls.are_held).unwrap());
    }

    pub(crate) fn refuse(&self, refusals: Refusals) {
        *self.refusals.lock().unwrap() = refusals;
    }

    /// How many mappings there are.
    pub(crate) fn count(&self) -> usize {
        self.shown.lock().unwrap().len()
    }

    /// The calls since this was last asked.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// What a guest loads; `None` where a byte is not shown. Past a file's end there are zeros, up to a page.
    pub(crate) fn load(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let shown = self.shown.lock().unwrap();
        let byte = |at: u64| {
            let (start, range) = shown.range(..=at).next_back()?;
            let inside = at - start;
            let mut byte = [0];
            (inside < range.length).then(|| range.file.read_at(&mut byte, range.file_offset + inside).unwrap())?;
            Some(byte[0])
        };
        (0..length as u64).map(|index| byte(offset + index)).collect()
    }

    /// What a guest stores; false where it must not.
    pub(crate) fn store(&self, offset: u64, bytes: &[u8]) -> bool {
        let shown = self.shown.lock().unwrap();
        let Some((start, range)) = shown.range(..=offset).next_back() else { return false };
        let inside = offset - start;
        inside + bytes.len() as u64 <= range.length
            && range.writable
            && range.file.write_all_at(bytes, range.file_offset + inside).is_ok()
    }

    /// What it is to show, if it does.
    fn take(&self, request: &VhostUserMMap, file: File) -> io::Result<Shown> {
        let VhostUserMMap { fd_offset, shm_offset, len, flags, .. } = *request;
        Refusals::pass(&mut self.refusals.lock().unwrap().maps)?;
        let writable = flags & 1 != 0;
        let opened = rustix::fs::fcntl_getfl(&file)?;
        let may_write = opened.contains(OFlags::RDWR);
        let fits = fd_offset + len <= file.metadata()?.len();
        let shown = self.shown.lock().unwrap();
        let overlaps = shown.iter().any(|(start, old)| shm_offset < start + old.length && *start < shm_offset + len);
        let taken = may_write || (self.manner.read_only && !writable);
        let allowed = (fits || self.manner.past_end) && (!overlaps || self.manner.replaces) && taken;
        if shm_offset + len > self.size || !allowed {
            return Err(refused());
        }
        let writable = writable || !self.manner.read_only;
        Ok(Shown { length: len, file, file_offset: fd_offset, writable })
    }

    fn map(&self, shm_offset: u64, new: Shown) {
        let mut shown = self.shown.lock().unwrap();
        // A model that replaces whole mappings is all that the tests need.
        shown.retain(|start, old| shm_offset >= start + old.length || *start >= shm_offset + new.length);
        if let Some(device) = &mut *self.device.lock().unwrap() {
            device.add_mem_region(&region(shm_offset, &new)).unwrap();
        }
        shown.insert(shm_offset, new);
    }

    fn unmap(&self, request: &VhostUserMMap) -> io::Result<()> {
        let VhostUserMMap { shm_offset, len, .. } = *request;
        Refusals::pass(&mut self.refusals.lock().unwrap().unmaps)?;
        let mut shown = self.shown.lock().unwrap();
        let old = shown.get(&shm_offset).filter(|old| old.length == len).ok_or_else(refused)?;
        if let Some(device) = &mut *self.device.lock().unwrap() {
            device.remove_mem_region(&region(shm_offset, old)).unwrap();
        }
        shown.remove(&shm_offset);
        Ok(())
    }

    fn note(&self, name: &str, request: &VhostUserMMap, done: &io::Result<()>) {
        let VhostUserMMap { shm_offset, len, .. } = *request;
        let outcome = if done.is_ok() { "" } else { ", refused" };
        self.calls.lock().unwrap().push(format!("{name} {shm_offset:#x} {len:#x}{outcome}"));
    }
}

/// `VHOST_USER_BACKEND_SHMEM_MAP` and `_UNMAP`, and the flags of a header.
const MAP: u32 = 9;
const UNMAP: u32 = 10;
/// `VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE`.
const REMOVE_OBJECT: u32 = 7;
const VERSION_REPLY: u32 = 1 | 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

impl Screen {
    /// Answers the device's calls until it closes the channel, or we do.
    pub(crate) fn answer(&self, mut channel: UnixStream) {
        let mut header = [0; 12];
        let word = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut pending: Option<(u64, Shown)> = None;
        while let Ok((12, file)) = channel.recv_with_fd(&mut header) {
            if let Some((offset, shown)) = pending.take() {
                self.map(offset, shown);
            }
            let mut body = VhostUserMMap::default();
            let length = if word(&header, 0) == REMOVE_OBJECT { 16 } else { size_of::<VhostUserMMap>() };
            assert_eq!(word(&header, 8) as usize, length);
            if channel.read_exact(&mut body.as_mut_slice()[..length]).is_err() {
                return;
            }
            if Refusals::pass(&mut self.refusals.lock().unwrap().calls).is_err() {
                return channel.shutdown(Shutdown::Both).unwrap();
            }
            self.wait_if_held();
            let done = match word(&header, 0) {
                MAP => self.take(&body, file.unwrap()).map(|shown| pending = Some((body.shm_offset, shown))),
                UNMAP => self.unmap(&body),
                REMOVE_OBJECT => Err(refused()),
                other => panic!("request {other}"),
            };
            match word(&header, 0) {
                MAP => self.note("map", &body, &done),
                UNMAP => self.note("unmap", &body, &done),
                _ => {}
            }
            if let Some((offset, shown)) = pending.take_if(|_| !self.manner.late) {
                self.map(offset, shown);
            }
            if word(&header, 4) & NEED_REPLY != 0 {
                let code = done.map_or_else(|error| u64::from(error.raw_os_error().unwrap().unsigned_abs()), |()| 0);
                let head = [word(&header, 0), VERSION_REPLY, 8].map(u32::to_ne_bytes).concat();
                let _ = channel.write_all(&[head, code.to_ne_bytes().to_vec()].concat()); // it may be gone
            }
        }
    }
}
