//! The server of one share: a request in a guest's memory in, its reply in a guest's memory out.

use crate::frame::{Frame, LONGEST_REPLY, LONGEST_REQUEST};
use crate::marks;
use crate::opcodes as op;
use crate::options::Options;
use crate::share::{Read, Share, Write};
use crate::sys::guest::{GuestSlice, copy_in, copy_out, total, window};
use daxmap_core::fuse::{self, HEADER_SIZE, Header, Request, Session};
use daxmap_core::{Errno, ForkGuard, MapRequest, Mapper, OpenError, Overlap};
use fuse_backend_rs::api::server::Server;
use std::cell::Cell;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

/// Size of `struct fuse_out_header` in bytes.
const REPLY_HEADER: usize = 16;
/// Size of a WRITE's headers in bytes; what is to be written follows.
const WRITE_HEADERS: usize = HEADER_SIZE + 40;

thread_local! {
    /// Taken by the request that needs it: whatever that calls may ask for another.
    static FRAME: Cell<Option<Frame>> = const { Cell::new(None) };
}

/// Answers every FUSE request of one directory. All methods may be called from many threads.
pub struct FileServer {
    share: Arc<Share>,
    server: Server<Arc<Share>>,
    mapper: Option<Arc<Mapper>>,
    session: Session,
    guard: ForkGuard,
}

/// A request that can be answered: its header, and as much of its other bytes as is needed at once.
struct Incoming<'a> {
    header: Header,
    /// The whole message but for what a WRITE writes.
    message: Vec<u8>,
    buffers: &'a [GuestSlice<'a>],
    length: usize,
}

/// What becomes of a request.
enum Outcome {
    /// A reply in private memory.
    Reply(Vec<u8>),
    /// A reply whose body, of so many bytes, is in the guest's memory already.
    Filled(usize),
    /// A reply that is an error.
    Refused(Errno),
}

impl FileServer {
    /// A server of `directory`, whose files are mapped by `mapper`, if there is one.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] for a `max_open` under 64; [`OpenError::Refused`] with ENOTDIR, ENOENT, EACCES and the like of
    /// `directory`, with EPERM where files are to be the guest's users' and the process may not act as others, and with
    /// ENOENT where there is no /proc.
    pub fn new(directory: &Path, mapper: Option<Arc<Mapper>>, options: &Options) -> Result<Self, OpenError> {
        let guard = ForkGuard::new().map_err(OpenError::no_fork_guard)?;
        let mapper = mapper.filter(|_| options.dax != fuse::Policy::Never);
        let share = Arc::new(Share::open(directory, mapper.clone(), *options)?);
        let session = Session::new(options.dax);
        if let Some(why) = share.shares_umask() {
            let text = "the process's umask applies to files that the guest makes";
            session.warnings().warn(format_args!("{text}: a thread can't have its own: {why}"));
        }
        Ok(Self { server: Server::new(Arc::clone(&share)), share, mapper, session, guard })
    }

    /// What the share has with its guest.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// How many inodes the guest knows, without the directory itself.
    #[must_use]
    pub fn known_inodes(&self) -> usize {
        self.share.known_inodes()
    }

    /// Answers a request; `None` where there is no reply.
    #[must_use]
    pub fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let room = op::room_for(request).min(op::LARGEST_READ.saturating_add(LONGEST_REPLY));
        let mut reply = vec![0; room];
        let cells = Cell::from_mut(&mut *reply).as_slice_of_cells();
        let length = self.answer_into(&[GuestSlice::readable(request)], &[GuestSlice::writable(cells)]);
        reply.truncate(length);
        (length > 0).then_some(reply)
    }

    /// Answers a request that lies in `readable`, in order, into `writable`; how many bytes of the reply were written, which
    /// is the `used_length` of a virtqueue. 0 where there is no reply: FORGET and the like, what is no request, and where
    /// there is no room for as much as an error.
    pub fn answer_into(&self, readable: &[GuestSlice<'_>], writable: &[GuestSlice<'_>]) -> usize {
        let Some(mut request) = Incoming::read(readable) else { return 0 };
        let header = request.header;
        let done = match header.check(request.length) {
            _ if self.guard.is_child() => Outcome::Refused(Errno(libc::EPERM)),
            Ok(()) => self.done(&mut request, writable),
            Err(malformed) => Outcome::Refused(self.session.malformed(malformed)),
        };
        let room = total(writable);
        match done {
            _ if op::has_no_reply(header.opcode()) || room < REPLY_HEADER => 0,
            Outcome::Reply(reply) if reply.len() <= room => copy_in(writable, &reply),
            Outcome::Reply(_) => copy_in(writable, &self.session.reply(&header, Err(Errno(libc::EINVAL)))),
            Outcome::Refused(errno) => copy_in(writable, &self.session.reply(&header, Err(errno))),
            Outcome::Filled(body) => {
                let length = body.saturating_add(REPLY_HEADER);
                let mut reply = self.session.reply(&header, Ok(()));
                reply[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
                copy_in(writable, &reply).saturating_add(body)
            }
        }
    }

    fn done(&self, request: &mut Incoming<'_>, writable: &[GuestSlice<'_>]) -> Outcome {
        match request.header.opcode() {
            op::READ => self.read(request, writable),
            op::WRITE => self.write(request),
            op::DESTROY => {
                self.restart();
                self.plain(request, Ok(()))
            }
            _ if request.header.concerns_dax() => self.dax(request, writable),
            opcode if op::FILES.contains(&opcode) => self.files(request, total(writable)),
            _ => Outcome::Refused(Errno(libc::ENOSYS)),
        }
    }

    /// A reply that is a header alone.
    fn plain(&self, request: &Incoming<'_>, done: Result<(), Errno>) -> Outcome {
        Outcome::Reply(self.session.reply(&request.header, done).to_vec())
    }

    fn dax(&self, request: &mut Incoming<'_>, writable: &[GuestSlice<'_>]) -> Outcome {
        let body = request.message.get(HEADER_SIZE..).unwrap_or_default();
        match (fuse::decode(&request.header, body), &self.mapper) {
            (Ok(Request::Init(init)), _) => {
                let mut answered = self.files(request, total(writable));
                if let Outcome::Reply(reply) = &mut answered
                    && reply.len() > REPLY_HEADER
                {
                    self.restart(); // one that is refused starts nothing
                    self.session.restart();
                    if self.mapper.is_some() {
                        self.session.negotiate(&init, reply);
                    }
                    let has_pages = self.mapper.is_none() || !init.maps_all_files();
                    self.share.set_guest_has_pages(has_pages);
                    if !has_pages {
                        marks::mark_without_pages(&init, reply);
                    }
                }
                answered
            }
            (Ok(_), None) => self.plain(request, Err(Errno(libc::ENOSYS))),
            (Ok(Request::Setup { nodeid, fh, range }), Some(mapper)) => {
                self.plain(request, self.set_up(mapper, nodeid, fh, &range))
            }
            (Ok(Request::Remove(ranges)), Some(mapper)) => {
                self.plain(request, mapper.remove_ranges(&ranges).map_err(|error| error.errno()))
            }
            (Ok(Request::RemoveAll), Some(mapper)) => {
                self.plain(request, mapper.remove_all().map_err(|error| error.errno()))
            }
            (Ok(Request::Destroy | Request::Other), Some(_)) => Outcome::Refused(Errno(libc::EINVAL)),
            (Err(malformed), _) => Outcome::Refused(self.session.malformed(malformed)),
        }
    }

    fn set_up(&self, mapper: &Mapper, nodeid: u64, fh: Option<u64>, range: &MapRequest) -> Result<(), Errno> {
        // Before anything is opened: to open a file for writing may change it, and overlayfs copies it.
        mapper.check(range).map_err(|error| error.errno())?;
        let file = self.share.mappable(nodeid, fh, range.writable).map_err(|error| errno_of(&error))?;
        mapper.setup(file.as_raw_fd(), range, Overlap::Replace).map_err(|error| error.errno())
    }

    /// The guest starts, or leaves: it knows nothing of what it had.
    fn restart(&self) {
        if let Some(mapper) = self.mapper.as_ref().filter(|mapper| !mapper.is_closed()) {
            let _ = mapper.reset(); // no failure keeps a guest from starting; the mapper has logged it
        }
        self.share.forget_all();
    }

    /// Whatever `fuse-backend-rs` decodes.
    fn files(&self, request: &mut Incoming<'_>, room: usize) -> Outcome {
        let opcode = request.header.opcode();
        op::limit_to(room.min(LONGEST_REPLY), opcode, &mut request.message);
        let Some(mut frame) = FRAME.take().or_else(Frame::new) else { return Outcome::Refused(Errno(libc::ENOMEM)) };
        let answered = frame.answer(&self.server, &request.message, room);
        FRAME.set(Some(frame));
        match answered {
            Some(mut reply) if fuse::verify(request.header.unique(), &reply).is_ok() => {
                if self.mapper.is_some() {
                    marks::mark(opcode, &mut reply, self.session.policy());
                }
                Outcome::Reply(reply)
            }
            _ => Outcome::Refused(Errno(libc::EINVAL)),
        }
    }

    fn read(&self, request: &Incoming<'_>, writable: &[GuestSlice<'_>]) -> Outcome {
        let Some(body) = op::ReadIn::decode(&request.message) else { return Outcome::Refused(Errno(libc::EINVAL)) };
        let what = Read { nodeid: request.header.nodeid(), fh: body.fh, offset: body.offset };
        match self.share.read(&what, &window(writable, REPLY_HEADER, body.size.min(op::LARGEST_READ))) {
            Ok(length) => Outcome::Filled(length),
            Err(error) => Outcome::Refused(errno_of(&error)),
        }
    }

    fn write(&self, request: &Incoming<'_>) -> Outcome {
        let body = op::WriteIn::decode(&request.message);
        let length = request.length.saturating_sub(WRITE_HEADERS);
        let Some(body) = body.filter(|body| body.size == length) else { return Outcome::Refused(Errno(libc::EINVAL)) };
        let what = Write { nodeid: request.header.nodeid(), fh: body.fh, offset: body.offset, append: body.appends };
        match self.share.write(&what, &window(request.buffers, WRITE_HEADERS, length)) {
            Ok(written) => Outcome::Reply(op::write_out(request.header.unique(), written)),
            Err(error) => Outcome::Refused(errno_of(&error)),
        }
    }
}

impl<'a> Incoming<'a> {
    /// Copies a request out of the guest's memory, each byte once; none if it is too short to have a header, or longer than
    /// any that is answered.
    fn read(buffers: &'a [GuestSlice<'a>]) -> Option<Self> {
        let length = total(buffers);
        let mut message = vec![0; length.min(WRITE_HEADERS)];
        let copied = copy_out(buffers, &mut message);
        message.truncate(copied);
        let (header, _) = Header::parse(&message)?;
        if header.opcode() != op::WRITE {
            let head = message.len();
            message.resize(length.min(LONGEST_REQUEST), 0);
            let copied = copy_out(&window(buffers, head, LONGEST_REQUEST), message.get_mut(head..)?);
            message.truncate(head.saturating_add(copied));
        }
        Some(Self { header, message, buffers, length })
    }
}

impl std::fmt::Debug for FileServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileServer").field("share", &self.share).finish_non_exhaustive()
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
