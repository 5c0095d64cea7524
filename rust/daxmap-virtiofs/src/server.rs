//! The server of one share.

use crate::options::Options;
use crate::sys::guest::GuestSlice;
use daxmap_core::Mapper;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Answers every FUSE request of one directory. All methods may be called from many threads.
#[derive(Debug)]
pub struct FileServer {}

impl FileServer {
    /// A server of `directory`, whose files are mapped by `mapper`, if there is one.
    ///
    /// # Errors
    /// ENOTDIR, ENOENT, EACCES and the like of `directory`; EPERM where files are to be the guest's users' and the process
    /// may not act as others.
    pub fn new(_directory: &Path, _mapper: Option<Arc<Mapper>>, _options: &Options) -> io::Result<Self> {
        Ok(Self {})
    }

    /// Answers a request that lies in `readable`, in order, into `writable`; how many bytes of the reply were written, which
    /// is the `used_length` of a virtqueue. 0 where there is no reply: FORGET and the like, and what is no request.
    pub fn answer_into(&self, _readable: &[GuestSlice<'_>], _writable: &[GuestSlice<'_>]) -> usize {
        0
    }

    /// Answers a request; `None` where there is no reply.
    #[must_use]
    pub fn answer(&self, _request: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
