//! Buffers in a guest's memory. The guest may change them at any time, so no byte of them is read twice, and no Rust
//! reference to a byte of them is ever made: copies go by pointers, or are the kernel's.

use rustix::fd::{AsRawFd, BorrowedFd};
use std::cell::Cell;
use std::io;
use std::marker::PhantomData;

/// The most buffers that one system call takes: `UIO_MAXIOV` of the kernel.
const MOST_AT_ONCE: usize = 1024;

/// A buffer in a guest's memory.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct GuestSlice<'a> {
    buffer: libc::iovec,
    memory: PhantomData<&'a [Cell<u8>]>,
}

// SAFETY: it is a pointer and a length. The bytes behind it may be changed by others at any time, whatever thread has the
// slice, and are only ever copied by raw pointers or by the kernel.
unsafe impl Send for GuestSlice<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for GuestSlice<'_> {}

impl<'a> GuestSlice<'a> {
    /// A buffer that the guest reads its reply from.
    #[must_use]
    pub fn writable(cells: &'a [Cell<u8>]) -> Self {
        // SAFETY: the cells are `cells.len()` bytes that live for 'a, and may be written through a shared reference. They
        // are of this thread alone, which waits for whatever is done with the slice.
        unsafe { Self::from_raw(cells.as_ptr().cast_mut().cast(), cells.len()) }
    }

    /// A buffer of a request. Nothing writes to it through this.
    #[must_use]
    pub fn readable(bytes: &'a [u8]) -> Self {
        // SAFETY: the bytes live for 'a; slices made here are only given where requests are read.
        unsafe { Self::from_raw(bytes.as_ptr().cast_mut(), bytes.len()) }
    }

    /// The buffer of `length` bytes at `start`.
    ///
    /// # Safety
    /// The memory stays mapped for `'a`, readable, and writable if a reply is to go there, and Rust code has no reference
    /// to it.
    #[must_use]
    pub unsafe fn from_raw(start: *mut u8, length: usize) -> Self {
        Self { buffer: libc::iovec { iov_base: start.cast(), iov_len: length }, memory: PhantomData }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.iov_len
    }

    /// Whether it has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part from `skip` on, of at most `length` bytes.
    #[must_use]
    fn part(self, skip: usize, length: usize) -> Self {
        let skip = skip.min(self.len());
        let start = self.buffer.iov_base.cast::<u8>().wrapping_add(skip);
        let iov_len = self.len().wrapping_sub(skip).min(length);
        Self { buffer: libc::iovec { iov_base: start.cast(), iov_len }, memory: PhantomData }
    }
}

/// How many bytes the buffers have in all.
#[must_use]
pub fn total(buffers: &[GuestSlice<'_>]) -> usize {
    buffers.iter().fold(0, |sum, buffer| sum.saturating_add(buffer.len()))
}

/// The buffers without their first `skip` bytes, up to `length` bytes in all.
#[must_use]
pub fn window<'a>(buffers: &[GuestSlice<'a>], mut skip: usize, mut length: usize) -> Vec<GuestSlice<'a>> {
    let mut parts = Vec::new();
    for buffer in buffers {
        let part = buffer.part(skip, length);
        skip = skip.saturating_sub(buffer.len());
        length = length.saturating_sub(part.len());
        if !part.is_empty() {
            parts.push(part);
        }
    }
    parts
}

/// Copies from the start of the buffers, as much as there is and fits; how much.
#[must_use]
pub fn copy_out(buffers: &[GuestSlice<'_>], into: &mut [u8]) -> usize {
    let mut rest = into;
    let all = rest.len();
    for buffer in buffers {
        let (now, later) = rest.split_at_mut(buffer.len().min(rest.len()));
        // SAFETY: `now` is no longer than the buffer, whose memory is mapped, and is nobody else's. The guest may write
        // there meanwhile: then any mixture of old and new bytes is copied, each of which is a valid `u8`.
        unsafe { std::ptr::copy_nonoverlapping(buffer.buffer.iov_base.cast::<u8>(), now.as_mut_ptr(), now.len()) };
        rest = later;
    }
    all.wrapping_sub(rest.len())
}

/// Copies to the start of the buffers, as much as fits; how much.
#[must_use]
pub fn copy_in(buffers: &[GuestSlice<'_>], from: &[u8]) -> usize {
    let mut rest = from;
    for buffer in buffers {
        let (now, later) = rest.split_at(buffer.len().min(rest.len()));
        // SAFETY: `now` is no longer than the buffer, whose memory is mapped and writable, and to which Rust has no
        // reference.
        unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), buffer.buffer.iov_base.cast::<u8>(), now.len()) };
        rest = later;
    }
    from.len().wrapping_sub(rest.len())
}

/// `preadv(2)`: fills the buffers from a file, from `offset` on, until they are full or the file ends; how many bytes.
pub(crate) fn read_at(file: BorrowedFd<'_>, buffers: &[GuestSlice<'_>], offset: u64) -> io::Result<usize> {
    in_parts(buffers, offset, |part, offset| {
        // SAFETY: each buffer's memory is mapped and writable, and no Rust reference to it exists; `GuestSlice` is an iovec.
        unsafe { libc::preadv(file.as_raw_fd(), part.as_ptr().cast(), count_of(part), offset) }
    })
}

/// `pwritev2(2)`: writes the buffers to a file, at `offset`, or with `append` at its end; how many bytes.
pub(crate) fn write_at(
    file: BorrowedFd<'_>,
    buffers: &[GuestSlice<'_>],
    offset: u64,
    append: bool,
) -> io::Result<usize> {
    let flags = if append { libc::RWF_APPEND } else { 0 };
    in_parts(buffers, offset, |part, offset| {
        // SAFETY: each buffer's memory is mapped; the kernel copies it once. `GuestSlice` is an iovec.
        unsafe { libc::pwritev2(file.as_raw_fd(), part.as_ptr().cast(), count_of(part), offset, flags) }
    })
}

/// Makes a call for so many buffers as it takes at once, then for the rest, until one falls short. What was done before a
/// failure counts.
fn in_parts(
    buffers: &[GuestSlice<'_>],
    offset: u64,
    call: impl Fn(&[GuestSlice<'_>], libc::off_t) -> isize,
) -> io::Result<usize> {
    let mut done = 0_usize;
    for part in buffers.chunks(MOST_AT_ONCE) {
        // An offset that no file has is EINVAL, as the kernel says of a negative one.
        let at = offset.checked_add(done as u64).and_then(|at| libc::off_t::try_from(at).ok());
        let answer = at.map(|at| call(part, at)).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL));
        match answer.and_then(|length| usize::try_from(length).map_err(|_| io::Error::last_os_error())) {
            Ok(length) => {
                done = done.saturating_add(length);
                if length < total(part) {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn count_of(buffers: &[GuestSlice<'_>]) -> libc::c_int {
    libc::c_int::try_from(buffers.len()).unwrap_or(0) // 1,024 at most
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// What comes of as many buffers as take two calls, of which each gives such an answer; and the offsets of the calls.
    fn answered(answers: [isize; 2], offset: u64) -> (Result<usize, Option<i32>>, Vec<libc::off_t>) {
        let buffers = vec![GuestSlice::readable(b"ab"); MOST_AT_ONCE + 1];
        let offsets = RefCell::new(Vec::new());
        let done = in_parts(&buffers, offset, |_, at| {
            offsets.borrow_mut().push(at);
            answers[offsets.borrow().len() - 1]
        });
        (done.map_err(|error| error.raw_os_error()), offsets.into_inner())
    }

    #[test]
    fn what_was_done_before_a_call_falls_short_or_fails_counts() {
        let half = 2 * MOST_AT_ONCE;
        let full = isize::try_from(half).unwrap();
        let at = libc::off_t::try_from(half).unwrap();
        assert_eq!(answered([full, 2], 10), (Ok(half + 2), vec![10, at + 10]));
        assert_eq!(answered([full - 1, 2], 0), (Ok(half - 1), vec![0]));
        assert_eq!(answered([full, -1], 0), (Ok(half), vec![0, at]));
        let (failed, calls) = answered([-1, 2], 0);
        assert!(failed.is_err() && calls.len() == 1, "{failed:?}");
        let last = i64::MAX.unsigned_abs();
        assert_eq!(answered([full, 2], last), (Ok(half), vec![i64::MAX]));
        assert_eq!(answered([full, 2], last + 1), (Err(Some(libc::EINVAL)), vec![]));
    }

    #[test]
    fn a_window_has_no_empty_buffers() {
        let [empty, two, three] = [&b""[..], b"ab", b"cde"].map(GuestSlice::readable);
        assert!(empty.is_empty() && !two.is_empty());
        let lengths =
            |skip, length| window(&[two, empty, three], skip, length).iter().map(GuestSlice::len).collect::<Vec<_>>();
        assert_eq!(
            (lengths(0, 9), lengths(1, 3), lengths(2, 9), lengths(5, 9)),
            (vec![2, 3], vec![1, 2], vec![3], vec![])
        );
    }
}
