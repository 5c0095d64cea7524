//! What a front end makes of a window, found out by asking it.

use super::abilities::Abilities;
use super::channel::{Channel, Failed, Range};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Memory slots that may be used, those of the guest's RAM among them. QEMU has 512, and aborts when they are used up; what
/// is left is for RAM that is plugged in later.
const SLOTS: u64 = 480;

/// The files that front ends are asked to show.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Of one page.
    file: File,
    /// The same, open for reading only.
    reader: OwnedFd,
    page: u64,
}

impl Probe {
    /// Made before it is needed: by then this process may open no file outside its share.
    pub(crate) fn new(page: u64, descriptors: impl AsFd) -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("daxmap-probe", MemfdFlags::CLOEXEC)?);
        file.set_len(page)?;
        let name = file.as_raw_fd().to_string();
        let reader = rustix::fs::openat(descriptors, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { file, reader, page })
    }

    /// Asks the front end. `window` is the window's size in bytes, and `regions` counts the memory regions of the guest that
    /// the front end has told us of.
    ///
    /// It must answer no other call meanwhile, and nothing may be shown.
    pub(crate) fn ask(&self, channel: &Channel, window: u64, regions: impl Fn() -> u64) -> Result<Abilities, String> {
        let page = self.page;
        let at = |window_offset, length, writable| Range { window_offset, file_offset: 0, length, writable };
        let told = |failed: Failed| match failed {
            Failed::Refused => "the front end refuses to map a page of a file".to_owned(),
            Failed::Gone => "the front end has no window for this device (vhost-user's SHMEM)".to_owned(),
        };
        // Without an answer to each call (REPLY_ACK) even this would seem to be done.
        match channel.map(&at(window, page, true), &self.file) {
            Err(Failed::Refused) => {}
            Err(gone) => return Err(told(gone)),
            Ok(()) => return Err("the front end does not say whether it has mapped what it was told to".to_owned()),
        }
        let ram = regions();
        let whole = at(0, page, true);
        channel.map(&whole, &self.file).map_err(told)?;
        let takes_slots = regions() > ram;
        let replaces = channel.map(&whole, &self.file).is_ok();
        let unmap = |length| channel.unmap(0, length).map_err(|failed| format!("{failed} to unmap a page again"));
        unmap(page)?;
        let shows = |range: Range, file: BorrowedFd<'_>| {
            let shown = channel.map(&range, file).is_ok();
            if shown { unmap(range.length).map(|()| true) } else { Ok(false) }
        };
        let past_end = shows(at(0, page.saturating_mul(2), true), self.file.as_fd())?;
        let read_only = shows(at(0, page, false), self.reader.as_fd())?;
        let slots = (takes_slots || !past_end).then(|| SLOTS.saturating_sub(ram));
        Ok(Abilities { past_end, replaces, read_only, slots })
    }
}
