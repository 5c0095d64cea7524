//! What the front end shows, piece by piece.

use super::abilities::Abilities;
use super::channel::{Channel, Failed, Range};
use super::copies::{Memory, Place};
use super::pieces::{Kind, Piece, Shown};
use daxmap_core::{Errno, FileId, Pin, Refusal, Span, Warnings, page_size};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a file may turn out shorter than it has just been.
const TRIES: usize = 3;

/// The window of one front end after another.
#[derive(Debug)]
pub(crate) struct Window {
    channel: Channel,
    memory: Memory,
    page: u64,
    book: Mutex<Book>,
    /// A guest can bring these about at any rate.
    warnings: Warnings,
    /// How many pieces are copies, or may become one just now, so that a request which concerns none takes no lock.
    copies: AtomicUsize,
}

#[derive(Debug, Default)]
struct Book {
    /// By start.
    shown: BTreeMap<u64, Shown>,
    /// The files of the guest's inodes, as far as they are shown, by number.
    inodes: BTreeMap<u64, FileId>,
}

/// Which files a request concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// That of a guest's inode.
    Inode(u64),
    /// Any.
    All,
}

impl Window {
    pub(crate) fn new(channel: Channel, size: u64) -> io::Result<Self> {
        let memory = Memory::new(size)?;
        Ok(Self {
            channel,
            memory,
            page: page_size(),
            book: Mutex::default(),
            warnings: Warnings::new(),
            copies: AtomicUsize::new(0),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn abilities(&self) -> Result<Abilities, Refusal> {
        let unknown = || Err("the front end was not asked yet what it can do".to_owned());
        let found = self.channel.abilities().unwrap_or_else(unknown);
        found.map_err(|reason| Refusal::new(Errno(libc::EOPNOTSUPP), reason))
    }

    /// Shows a range of a file where nothing is shown, as far as is known.
    pub(super) fn show(&self, new: Shown, inode: Option<u64>) -> Result<(), Refusal> {
        let abilities = self.abilities()?;
        let mut book = self.book();
        // Before the file is looked at: a thread that changes it meanwhile is to wait, and to find the copy.
        self.copies.fetch_add(1, SeqCst);
        let result = self.show_in(&mut book, new, inode, &abilities);
        self.count(&book);
        result
    }

    fn show_in(&self, book: &mut Book, new: Shown, inode: Option<u64>, abilities: &Abilities) -> Result<(), Refusal> {
        book.make_room(new.span)?;
        if let Some(inode) = inode {
            book.inodes.insert(inode, new.source.key().0);
        }
        let mut result = Err(Errno(libc::EIO).into());
        for _ in 0..TRIES {
            let size = size(&new.source)?;
            let planned = new.plan(size, self.page, abilities);
            let pieces = book.pieces().saturating_add(planned.len()) as u64;
            if let Some(slots) = abilities.slots.filter(|slots| pieces > *slots) {
                let text = format!("{pieces} mappings are more than the {slots} that the front end has slots for");
                return Err(Refusal::new(Errno(libc::ENOSPC), text));
            }
            match self.give(&new, planned, abilities) {
                Ok(pieces) => {
                    book.put(Shown { pieces, ..new });
                    return Ok(());
                }
                Err((refusal, left)) => {
                    if !left.is_empty() {
                        book.put(Shown { pieces: left, ..new });
                        return Err(refusal.in_doubt());
                    }
                    result = Err(refusal);
                }
            }
            if self::size(&new.source)? >= size {
                break; // that was not why
            }
        }
        result
    }

    /// Shows pieces; or none, but those that could not be taken away again.
    fn give(
        &self,
        new: &Shown,
        planned: Vec<Piece>,
        abilities: &Abilities,
    ) -> Result<Vec<Piece>, (Refusal, Vec<Piece>)> {
        let mut given: Vec<Piece> = Vec::new();
        for mut piece in planned {
            if let Err(refusal) = self.give_one(new, &mut piece, abilities) {
                self.free(&piece);
                given.retain_mut(|piece| match self.channel.unmap(piece.start, piece.length) {
                    Err(Failed::Refused) => true,
                    Ok(()) | Err(Failed::Gone) => {
                        self.free(piece);
                        false
                    }
                });
                return Err((refusal, given));
            }
            given.push(piece);
        }
        Ok(given)
    }

    fn give_one(&self, new: &Shown, piece: &mut Piece, abilities: &Abilities) -> Result<(), Refusal> {
        let (window_offset, length) = (piece.start, piece.length);
        let file_offset = new.file_offset_at(window_offset);
        let told = match &mut piece.kind {
            Kind::File => {
                // Where the descriptor decides, it is writable from the start, and an upgrade has nothing to do.
                let writable = new.writable || !abilities.read_only;
                self.channel.map(&Range { window_offset, file_offset, length, writable }, &*new.source)
            }
            Kind::Copy(copied) => {
                copied.refresh(&self.place(new, window_offset, length)).map_err(refused)?;
                let range = Range { window_offset, file_offset: window_offset, length, writable: true };
                self.channel.map(&range, &self.memory)
            }
        };
        told.map_err(|failed| Refusal::io(format!("{failed} to map {length:#x} bytes at {window_offset:#x}")))
    }

    /// Takes away what is shown in just this range. Again, it takes away what is left.
    pub(super) fn hide(&self, span: Span) -> Result<(), Refusal> {
        let mut book = self.book();
        let Some(mut shown) = book.take(span) else { return Ok(()) };
        let before = shown.pieces.len();
        let pieces = std::mem::take(&mut shown.pieces);
        for mut piece in pieces {
            match self.channel.unmap(piece.start, piece.length) {
                Err(Failed::Refused) => shown.pieces.push(piece),
                // Only now, so that no store of the guest's comes too late.
                Ok(()) | Err(Failed::Gone) => {
                    self.settle(&shown, &mut piece);
                    self.free(&piece);
                }
            }
        }
        let mut result = Ok(());
        if !shown.pieces.is_empty() {
            let refusal = Refusal::io(format!("the front end refuses to unmap range {span}, or a part of it"));
            result = Err(if shown.pieces.len() == before { refusal } else { refusal.in_doubt() });
            book.shown.insert(span.start().0, shown);
        }
        book.forget_inodes();
        self.count(&book);
        result
    }

    /// Lets the guest store to a range that is shown by a descriptor for writing, to a front end that looks only at that.
    /// `None` where just this range is not shown.
    pub(super) fn allow_stores(&self, span: Span) -> Option<()> {
        let mut book = self.book();
        let shown = book.shown.get_mut(&span.start().0).filter(|shown| shown.span == span)?;
        shown.writable = true;
        Some(())
    }

    /// Shows another access in place, where the front end can. `source` is the file opened for it.
    pub(super) fn show_again(&self, span: Span, source: &Arc<Pin>, writable: bool) -> Option<Result<(), Refusal>> {
        let abilities = self.abilities().ok().filter(|abilities| abilities.replaces)?;
        let mut book = self.book();
        let shown = book.shown.get_mut(&span.start().0).filter(|shown| shown.span == span)?;
        let [Piece { start, length, kind: Kind::File }] = shown.pieces.as_slice() else { return None };
        let range = Range { window_offset: *start, file_offset: shown.file_offset, length: *length, writable };
        if !Shown::is_shown_by(source, &abilities) {
            return None;
        }
        Some(match self.channel.map(&range, &**source) {
            Ok(()) => {
                shown.source = Arc::clone(source);
                shown.writable = writable;
                Ok(())
            }
            Err(failed) => Err(Refusal::io(format!("{failed} to map range {span} again"))),
        })
    }

    /// Before the server looks at files: what the guest has stored in copies goes to them.
    pub(crate) fn settle_copies(&self, which: Files) {
        self.each_copy(which, |shown, piece| self.settle(shown, piece));
    }

    /// Before the guest hears of files: what they have now goes to the copies.
    pub(crate) fn refresh_copies(&self, which: Files) {
        self.each_copy(which, |shown, piece| {
            let (start, length) = (piece.start, piece.length);
            let Kind::Copy(copied) = &mut piece.kind else { return };
            if let Err(error) = copied.refresh(&self.place(shown, start, length)) {
                self.warnings.warn(format_args!("a guest may see old bytes at the end of a file: {error}"));
            }
        });
    }

    fn each_copy(&self, which: Files, mut call: impl FnMut(&Shown, &mut Piece)) {
        if self.copies.load(SeqCst) == 0 {
            return;
        }
        let mut book = self.book();
        let Book { shown, inodes } = &mut *book;
        let file = match which {
            Files::All => None,
            Files::Inode(inode) => match inodes.get(&inode) {
                Some(file) => Some(*file),
                None => return,
            },
        };
        for shown in shown.values_mut().filter(|shown| file.is_none_or(|file| shown.source.key().0 == file)) {
            let mut pieces = std::mem::take(&mut shown.pieces);
            for piece in &mut pieces {
                call(shown, piece);
            }
            shown.pieces = pieces;
        }
    }

    fn settle(&self, shown: &Shown, piece: &mut Piece) {
        let (start, length) = (piece.start, piece.length);
        let (Kind::Copy(copied), true) = (&mut piece.kind, shown.writable) else { return };
        if let Err(error) = copied.settle(&self.place(shown, start, length)) {
            self.warnings.warn(format_args!("what a guest stored at the end of a file is not written: {error}"));
        }
    }

    fn free(&self, piece: &Piece) {
        if let Kind::Copy(_) = piece.kind
            && let Err(error) = self.memory.free(piece.start, piece.length)
        {
            self.warnings.warn(format_args!("memory of a copy is not freed: {error}"));
        }
    }

    fn place<'a>(&'a self, shown: &'a Shown, window_offset: u64, length: u64) -> Place<'a> {
        let file_offset = shown.file_offset_at(window_offset);
        Place { file: shown.source.as_fd(), memory: &self.memory, file_offset, window_offset, length }
    }

    fn count(&self, book: &Book) {
        self.copies.store(book.shown.values().map(Shown::copies).sum(), SeqCst);
    }
}

impl Book {
    fn pieces(&self) -> usize {
        self.shown.values().map(|shown| shown.pieces.len()).sum()
    }

    /// What a front end would not give up, and nobody knows of any more, must not be cut: it is taken whole or not.
    fn make_room(&self, span: Span) -> Result<(), Refusal> {
        let cut = |shown: &Shown| shown.span.overlaps(span) && shown.span.without(span).next().is_some();
        if self.shown.values().any(cut) {
            return Err(Refusal::io(format!("the front end may show something in a part of range {span}")));
        }
        Ok(())
    }

    /// Enters what is shown now, in place of what was.
    fn put(&mut self, new: Shown) {
        self.shown.retain(|_, old| !old.span.overlaps(new.span));
        self.shown.insert(new.span.start().0, new);
    }

    fn take(&mut self, span: Span) -> Option<Shown> {
        let start = span.start().0;
        self.shown.get(&start).filter(|shown| shown.span == span)?;
        self.shown.remove(&start)
    }

    /// Forgets the inodes of which nothing is shown, now and then.
    fn forget_inodes(&mut self) {
        if self.inodes.len() > self.shown.len().saturating_mul(2) {
            let Self { shown, inodes } = self;
            inodes.retain(|_, file| shown.values().any(|shown| shown.source.key().0 == *file));
        }
    }
}

fn size(source: &Pin) -> Result<u64, Refusal> {
    let stat = rustix::fs::fstat(source).map_err(|error| refused(error.into()))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// The refusal of a copy, or of a look at its file: no mapping was tried.
fn refused(error: io::Error) -> Refusal {
    Refusal::new(Errno(error.raw_os_error().unwrap_or(libc::EIO)), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxmap_core::{FileOffset, Pins, Placement, WindowOffset};
    use rustix::fs::{MemfdFlags, fstat, memfd_create};
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;
    use std::os::unix::net::UnixStream;
    use std::thread;
    use vhost::vhost_user::{Backend, message::VhostUserMMap};
    use vmm_sys_util::sock_ctrl_msg::ScmSocket;

    #[test]
    fn inodes_of_files_that_are_shown_no_more_are_forgotten() {
        let mut book = Book::default();
        book.inodes.extend((0..3).map(|ino| (ino, FileId { dev: 1, ino })));
        book.forget_inodes();
        assert_eq!(book.inodes, BTreeMap::new());
    }

    #[test]
    fn a_write_beside_a_map_is_in_the_copy_when_both_are_done() {
        let (mut front_end, ours) = UnixStream::pair().unwrap();
        let (channel, backend) = (Channel::default(), Backend::from_stream(ours));
        backend.set_reply_ack_flag(true);
        backend.set_shmem_flag(true);
        channel.open(backend);
        channel.found(Ok(Abilities { past_end: false, replaces: false, read_only: false, slots: None }));
        let window = Window::new(channel, 1 << 21).unwrap();
        let file = File::from(memfd_create("file", MemfdFlags::CLOEXEC).unwrap());
        file.write_all_at(b"old", 0).unwrap();
        let stat = fstat(&file).unwrap();
        let span = Span::new(WindowOffset(0), 4096).unwrap();
        let file_id = FileId { dev: stat.st_dev, ino: stat.st_ino };
        let fd = file.as_raw_fd();
        let placement =
            Placement { span, fd, file: file_id, file_offset: FileOffset(0), writable: true, prefault: false };
        let source = Pins::default().pin(&placement).unwrap();
        let shown = Shown { span, source, file_offset: 0, writable: true, pieces: Vec::new() };
        thread::scope(|scope| {
            let maps = scope.spawn(|| window.show(shown, Some(7)).unwrap());
            let mut call = [0; 12 + size_of::<VhostUserMMap>()];
            let (length, _file) = front_end.recv_with_fd(&mut call).unwrap();
            assert_eq!((length, call[0]), (call.len(), 9), "SHMEM_MAP");
            file.write_all_at(b"newer", 0).unwrap(); // the copy is made, and not yet shown
            let writes = scope.spawn(|| window.refresh_copies(Files::Inode(7)));
            for _ in 0..10_000 {
                thread::yield_now(); // it is to be waiting by now; if it is not, this shows less
            }
            let reply = [9_u32, 1 | 1 << 2, 8, 0, 0].map(u32::to_ne_bytes).concat();
            front_end.write_all(&reply).unwrap();
            maps.join().unwrap();
            writes.join().unwrap();
        });
        let mut bytes = [0; 5];
        rustix::io::pread(&window.memory, &mut bytes[..], 0).unwrap();
        assert_eq!(&bytes, b"newer");
    }
}
