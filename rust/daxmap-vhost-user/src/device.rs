//! The device: a directory's file server, the mapper of its window, and what is known of the front end.

use crate::notices::Notices;
use crate::request::{Head, Kind, destroy, looked_up};
use crate::settings::Settings;
use crate::window::{Abilities, Channel, Files, Probe, Window, WindowBackend, WindowSteps, for_inode, reopener};
use daxmap_core::fuse::{Policy, Session};
use daxmap_core::{Budget, DAX_RANGE, Errno, GuestAddress, Mapper, OpenError, Stats, page_size};
use daxmap_virtiofs::{FileServer, GuestSlice, Options, copy_out, total};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest request that changes the window: a REMOVEMAPPING of as many ranges as one may have.
const LONGEST: usize = 40 + 4 + 4096 * 16;
/// Where the window would lie: the front end knows, we don't, and no one asks.
const BASE: GuestAddress = GuestAddress(0);

/// A share, for one front end after another.
#[derive(Debug)]
pub struct Device {
    settings: Settings,
    server: FileServer,
    window: Option<(Arc<Mapper>, Arc<Window>)>,
    channel: Channel,
    probe: Probe,
    notices: Notices,
    /// What was last told of a front end.
    told: Mutex<Vec<String>>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So much was written to the guest's buffers.
    Written(usize),
    /// This is to be written, if the queue has not been stopped meanwhile.
    ToWrite(Vec<u8>),
}

impl Device {
    /// A device that shares `directory`, by the options of its file server. Those and the settings go together.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] for a bad setting; [`OpenError::Refused`] with what the host says of the directory, EMFILE and
    /// the like.
    pub fn new(directory: &Path, settings: Settings, options: &Options, notices: Notices) -> Result<Self, OpenError> {
        settings.check().map_err(|bad| OpenError::Invalid(bad.to_string()))?;
        let descriptors = reopener().map_err(|error| refused("/proc/self/fd", &error))?;
        let probe = Probe::new(page_size(), &descriptors).map_err(|error| refused("memfd_create", &error))?;
        let channel = Channel::default();
        let window = match settings.window.filter(|_| options.dax != Policy::Never) {
            None => None,
            Some(size) => {
                let window = Window::new(channel.clone(), size).map_err(|error| refused("memfd_create", &error))?;
                let window = Arc::new(window);
                let steps = WindowSteps::new(Arc::clone(&window), descriptors);
                let mapper = Mapper::new(BASE, size, mapper_options(&settings, size), |_| {
                    Ok(Box::new(WindowBackend::new(steps)))
                });
                Some((Arc::new(mapper?.named(settings.tag.clone())), window))
            }
        };
        let mapper = window.as_ref().map(|(mapper, _)| Arc::clone(mapper));
        let server = FileServer::new(directory, mapper, options)?;
        Ok(Self { settings, server, window, channel, probe, notices, told: Mutex::default() })
    }

    /// What it is like.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The size of the window in bytes, if it has one.
    #[must_use]
    pub fn window(&self) -> Option<u64> {
        self.window.as_ref().and(self.settings.window)
    }

    /// The channel to the front end.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The counters of the window's mapper.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.window.as_ref().map(|(mapper, _)| mapper.stats()).unwrap_or_default()
    }

    /// What the share has with its guest.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.server.session()
    }

    /// Why there is no DAX, if there is none whatever the guest does.
    #[must_use]
    pub fn without_dax(&self) -> Option<String> {
        if self.window.is_none() {
            return Some("there is no window: --dax never".to_owned());
        }
        self.channel.abilities()?.err()
    }

    /// Answers a request that begins so. `regions` counts the memory regions of the guest.
    pub(crate) fn answer(
        &self,
        head: Head,
        readable: &[GuestSlice<'_>],
        writable: &[GuestSlice<'_>],
        regions: impl Fn() -> u64,
    ) -> Answer {
        match head.kind {
            Kind::Init => {
                self.ask_front_end(regions);
                let mut answer = self.answer_copied(readable, head);
                if let (Answer::ToWrite(reply), Some(Err(_))) = (&mut answer, self.channel.abilities()) {
                    withhold_dax(reply);
                }
                answer
            }
            Kind::Window => self.answer_copied(readable, head),
            Kind::None => Answer::Written(self.server.answer_into(readable, writable)),
            Kind::Lookup => {
                let used = self.server.answer_into(readable, writable);
                if let Some(inode) = looked_up(writable) {
                    self.refresh(Files::Inode(inode));
                }
                Answer::Written(used)
            }
            Kind::Files(files, second) => {
                [Some(files), second].into_iter().flatten().for_each(|files| self.settle(files));
                let used = self.server.answer_into(readable, writable);
                [Some(files), second].into_iter().flatten().for_each(|files| self.refresh(files));
                Answer::Written(used)
            }
        }
    }

    /// Answers a request that changes the window. The queue may be stopped while the front end is waited for, and then the
    /// guest's buffers are its own again: so the reply is not written here.
    fn answer_copied(&self, readable: &[GuestSlice<'_>], head: Head) -> Answer {
        let mut request = vec![0; total(readable).min(LONGEST.saturating_add(1))]; // one more is too long, and refused
        let copied = copy_out(readable, &mut request);
        request.truncate(copied);
        let reply = for_inode(head.inode, || self.server.answer(&request));
        Answer::ToWrite(reply.unwrap_or_default())
    }

    /// Has copies and files have the same bytes, now.
    pub(crate) fn keep_copies(&self) {
        self.settle(Files::All);
        self.refresh(Files::All);
    }

    fn settle(&self, files: Files) {
        if let Some((_, window)) = &self.window {
            window.settle_copies(files);
        }
    }

    fn refresh(&self, files: Files) {
        if let Some((_, window)) = &self.window {
            window.refresh_copies(files);
        }
    }

    /// At a front end's first INIT: finds out what it can do. Not earlier, for its main loop may be waiting for us.
    fn ask_front_end(&self, regions: impl Fn() -> u64) {
        let (Some(size), None) = (self.window(), self.channel.abilities()) else { return };
        let found = self.probe.ask(&self.channel, size, regions).and_then(|abilities| self.usable(abilities));
        match &found {
            Ok(abilities) => self.tell(limits(abilities, size)),
            Err(reason) => {
                self.tell(vec![format!("no DAX: {reason}; a guest that mounts with -o dax cannot read files")]);
            }
        }
        self.channel.found(found);
    }

    /// Tells what a front end can't do, unless the one before could not do the same.
    fn tell(&self, lines: Vec<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != lines {
            for line in &lines {
                self.notices.tell(line.clone());
            }
            *told = lines;
        }
    }

    fn usable(&self, abilities: Abilities) -> Result<Abilities, String> {
        if self.settings.readonly && !abilities.read_only {
            return Err(
                "the front end takes no descriptor that is open for reading only, and maps others writable: a guest \
                        could write to this read-only share"
                    .to_owned(),
            );
        }
        Ok(abilities)
    }

    /// The front end is gone: what was the guest's is let go of.
    pub(crate) fn end_session(&self) {
        self.channel.close();
        let _ = self.server.answer(&destroy());
        if let Some((mapper, _)) = &self.window {
            let _ = mapper.reset(); // it is open, and this is no fork
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some((mapper, _)) = &self.window {
            let _ = mapper.drain_all();
        }
    }
}

/// Takes the offer of DAX out of a reply to INIT (`struct fuse_init_out`): `FUSE_MAP_ALIGNMENT` with its value, and
/// `FUSE_HAS_INODE_DAX`.
fn withhold_dax(reply: &mut [u8]) {
    const FLAGS: usize = 28;
    const MAP_ALIGNMENT: usize = 46;
    const FLAGS2: usize = 48;
    let mut clear = |at: usize, bits: u8| {
        if let Some(byte) = reply.get_mut(at) {
            *byte &= !bits;
        }
    };
    clear(FLAGS.saturating_add(3), 1 << 2); // bit 26
    clear(FLAGS2, 1 << 1); // bit 33
    clear(MAP_ALIGNMENT, 0xff);
    clear(MAP_ALIGNMENT.saturating_add(1), 0xff);
}

/// As many mappings as the window has pages, or as one process's memory areas let the front end have.
fn mapper_options(settings: &Settings, size: u64) -> daxmap_core::Options {
    let pages = size.checked_div(page_size()).unwrap_or(1).max(1);
    daxmap_core::Options {
        readonly: settings.readonly,
        max_mappings: Some(pages.min(Budget::of_process().limit())),
        ..Default::default()
    }
}

/// What a front end can't do, a line each.
fn limits(abilities: &Abilities, window: u64) -> Vec<String> {
    let mut lines = Vec::new();
    if !abilities.past_end {
        lines.push(
            "the front end maps no byte past the end of a file: the last page of a file, and what is appended while it is \
             mapped, are shown as a copy, kept in step at each request"
                .to_owned(),
        );
    }
    if !abilities.replaces && abilities.read_only {
        lines.push(
            "the front end replaces no mapping: a range is gone for a moment when it is made writable".to_owned(),
        );
    }
    if !abilities.read_only {
        lines.push(
            "the front end looks at descriptors, not at what it is told: files are opened for writing, and shown as a copy \
             where that is not allowed"
                .to_owned(),
        );
    }
    let ranges = window.checked_div(DAX_RANGE).unwrap_or(0);
    // A range whose file ends in it is two mappings.
    if let Some(slots) = abilities.slots.filter(|slots| ranges.saturating_mul(2) > *slots) {
        lines.push(format!(
            "the front end has room for {slots} mappings: a guest that maps more of this window's {ranges} ranges gets \
             errors; take a smaller --window"
        ));
    }
    lines
}

fn refused(what: &str, error: &io::Error) -> OpenError {
    OpenError::refused(what.to_owned(), Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use daxmap_virtiofs::{Cache, Owner};

    /// A device that nobody asks for files.
    pub(crate) fn device(tag: &str) -> Device {
        let settings = settings(tag, DAX_RANGE);
        let options =
            Options { readonly: true, dax: Policy::Always, owner: Owner::Host, cache: Cache::Auto, max_open: None };
        Device::new(&std::env::temp_dir(), settings, &options, Notices::new().unwrap()).unwrap()
    }

    fn settings(tag: &str, window: u64) -> Settings {
        Settings { tag: tag.to_owned(), window: Some(window), threads: 1, readonly: true }
    }

    /// What was logged by whichever test: a process has one logger.
    struct Log(Mutex<Vec<String>>);

    impl log::Log for Log {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_device_that_is_let_go_of_warns_of_nothing() {
        static LOG: Log = Log(Mutex::new(Vec::new()));
        log::set_logger(&LOG).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        drop(device("quiet"));
        let said = LOG.0.lock().unwrap();
        assert!(!said.iter().any(|line| line.contains("quiet")), "{said:?}");
    }

    #[test]
    fn a_mapper_is_read_only_as_its_share_and_has_room_for_each_page() {
        let options = |window| mapper_options(&settings("share", window), window);
        let limit = Budget::of_process().limit();
        assert!(options(DAX_RANGE).readonly);
        assert_eq!(options(DAX_RANGE).max_mappings, Some(limit.min(DAX_RANGE / page_size())));
        assert_eq!(options(1 << 62).max_mappings, Some(limit));
    }

    /// `struct fuse_init_out` of the kernel's include/uapi/linux/fuse.h.
    #[test]
    fn a_reply_without_dax_offers_all_else() {
        let mut reply = [0xff; 80];
        withhold_dax(&mut reply);
        let word = |at: usize| u32::from_le_bytes(reply[at..at + 4].try_into().unwrap());
        assert_eq!((word(28), word(48)), (!(1 << 26), !(1 << 1)), "FUSE_MAP_ALIGNMENT, FUSE_HAS_INODE_DAX");
        assert_eq!(reply[46..48], [0, 0], "map_alignment");
        assert_eq!(reply.iter().filter(|byte| **byte != 0xff).count(), 4);
        withhold_dax(&mut reply[..20]); // an error has no body
    }

    #[test]
    fn a_window_with_more_ranges_than_slots_is_told_of() {
        let told = |slots| {
            let abilities = Abilities { past_end: true, replaces: true, read_only: true, slots: Some(slots) };
            limits(&abilities, 8 * DAX_RANGE)
        };
        assert_eq!(told(16), Vec::<String>::new());
        let [line] = told(15).try_into().unwrap();
        assert!(line.contains("15 mappings") && line.contains("8 ranges"), "{line}");
    }
}
