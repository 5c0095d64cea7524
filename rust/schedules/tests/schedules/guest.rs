//! A backend that is its own guest: it shows pages to nobody, but knows what each would show. It wants one call at a time, and
//! none once the VM is gone.

use crate::requests::{BASE, PAGES};
use daxmap_core::{
    Backend, Change, Charge, Errno, Failure, FileId, Hold, Mapper, Options, Span, WindowOffset, page_size,
};
use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use shuttle::thread;
use std::sync::{Arc, Mutex, OnceLock};

/// What a page of the window shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    file: FileId,
    file_offset: u64,
    writable: bool,
}

pub(crate) type Pages = Vec<Option<Shown>>;

#[derive(Default)]
pub(crate) struct Guest {
    busy: AtomicBool,
    vm_is_gone: AtomicBool,
    /// std's lock: no thread is switched away from while it has it.
    pages: Mutex<Pages>,
    /// Called in every call.
    pub(crate) callback: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guest")
    }
}

impl Guest {
    pub(crate) fn pages(&self) -> Pages {
        self.pages.lock().unwrap().clone()
    }

    /// What those who were told that the mapper is closed may do: from now on a call would be a crash.
    pub(crate) fn destroy_vm(&self) {
        self.vm_is_gone.store(true, SeqCst);
        assert!(!self.busy.load(SeqCst), "a call is under way");
    }

    fn called(&self) {
        assert!(!self.vm_is_gone.load(SeqCst), "called when the VM was gone");
        assert!(!self.busy.swap(true, SeqCst), "two calls at once");
        thread::yield_now();
        let free = Free(&self.busy);
        if let Some(callback) = self.callback.get() {
            callback();
        }
        drop(free);
    }
}

/// Ends a call, even by a panic.
struct Free<'a>(&'a AtomicBool);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

/// Sets the pages of `span` to what `of` says of their offset in the window.
pub(crate) fn paint(pages: &mut Pages, span: Span, of: impl Fn(u64) -> Option<Shown>) {
    for offset in (span.start().0..span.end().0).step_by(usize::try_from(page_size()).unwrap()) {
        pages[usize::try_from(offset / page_size()).unwrap()] = of(offset);
    }
}

/// What the book says that the pages show.
pub(crate) fn booked(mapper: &Mapper) -> Pages {
    let mut pages = vec![None; PAGES];
    for mapping in mapper.mappings().unwrap() {
        let (start, at) = (mapping.span.start().0, mapping.file_offset.0);
        paint(&mut pages, mapping.span, |offset| {
            Some(Shown { file: mapping.file, file_offset: at + offset - start, writable: mapping.writable })
        });
    }
    pages
}

#[derive(Debug)]
struct Shows(Arc<Guest>);

impl Backend for Shows {
    fn changes_at_once(&self) -> bool {
        true
    }

    fn change(&mut self, change: &Change<'_>, _notes: &mut Vec<String>) -> Result<(), Failure> {
        self.0.called();
        paint(&mut self.0.pages.lock().unwrap(), change.span, |offset| {
            let new = change.new?;
            let file_offset = new.file_offset.0 + offset - new.span.start().0;
            Some(Shown { file: new.file, file_offset, writable: new.writable })
        });
        Ok(())
    }

    fn host_address_at(&self, offset: WindowOffset) -> Option<usize> {
        usize::try_from(BASE.0 + offset.0).ok()
    }

    fn read(&self, _offset: WindowOffset, _buffer: &mut [u8]) -> Result<(), Errno> {
        self.0.called();
        Ok(())
    }

    fn write(&self, _offset: WindowOffset, _data: &[u8]) -> Result<(), Errno> {
        self.0.called();
        Ok(())
    }

    fn hold(&self, _span: Span) -> Option<Vec<Hold>> {
        Some(Vec::new())
    }

    fn close(self: Box<Self>, _charge: Charge, _notes: &mut Vec<String>) -> bool {
        self.0.called();
        self.0.pages.lock().unwrap().fill(None);
        true
    }
}

/// A mapper, and the guest that it serves.
pub(crate) fn guest() -> (Arc<Mapper>, Arc<Guest>) {
    let guest = Arc::new(Guest { pages: Mutex::new(vec![None; PAGES]), ..Guest::default() });
    let backend = Box::new(Shows(Arc::clone(&guest)));
    let mapper = Mapper::new(BASE, PAGES as u64 * page_size(), Options::default(), |_| Ok(backend)).unwrap();
    (Arc::new(mapper), guest)
}
