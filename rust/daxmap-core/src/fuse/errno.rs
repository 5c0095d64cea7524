//! The one place where an errno of the host becomes the errno that a guest is told.
//!
//! Three steps, in this order:
//!
//! 1. A FUSE reply carries Linux numbers, whatever the host is. macOS shares 1 to 34 with Linux, but for one, and hardly
//!    any above.
//! 2. What is no errno of a guest's, outside 1 to 511, becomes EIO. Linux keeps the numbers from 512 on for its own use,
//!    `ERESTARTSYS` say, and takes a reply with one for broken.
//! 3. In a reply to SETUPMAPPING, some errnos would set a guest going in circles: see [`INSTEAD`].

use crate::sys::Errno;
use std::fmt;
use std::ops::RangeInclusive;

// Linux's numbers.
const EINTR: i32 = 4;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const ENOSPC: i32 = 28;

/// What a guest may be told.
const TOLD: RangeInclusive<i32> = 1..=511;
/// The errnos that both hosts number alike.
const COMMON: RangeInclusive<i32> = 1..=34;

/// What a guest is told instead of an errno that it would not end on, in a reply to SETUPMAPPING.
///
/// - EAGAIN: the guest's fault handler (`__fuse_dax_fault` in `fs/fuse/dax.c`) asks again at once, and again, for as long
///   as it has free ranges.
/// - ENOMEM: it takes it for its own lack of memory, and the CPU runs into the same fault again.
/// - EINTR: a program whose read or write ends so makes the call again, though no signal came.
///
/// Who may have said it: a resolver, a backend of the VMM's own, or mmap(2), over `RLIMIT_MEMLOCK` or on a leased file.
const INSTEAD: [(i32, i32); 3] = [(EAGAIN, EIO), (EINTR, EIO), (ENOMEM, ENOSPC)];

/// An errno as a guest is told it: Linux's number, 1 to 511. As text, its name, if it is one that stands for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestErrno(i32);

impl GuestErrno {
    /// What the guest is told of `errno`, an errno of this host, in the reply to a SETUPMAPPING or to another request.
    pub(super) fn new(errno: Errno, to_setup: bool) -> Self {
        let number = if cfg!(target_os = "macos") { from_macos(errno.0) } else { from_linux(errno.0) };
        let instead = INSTEAD.iter().find(|(not_told, _)| to_setup && *not_told == number);
        Self(instead.map_or(number, |(_, instead)| *instead))
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for GuestErrno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EIO => f.write_str("EIO"),
            ENOSPC => f.write_str("ENOSPC"),
            number => write!(f, "Linux errno {number}"),
        }
    }
}

fn from_linux(errno: i32) -> i32 {
    if TOLD.contains(&errno) { errno } else { EIO }
}

fn from_macos(errno: i32) -> i32 {
    match DIFFERENT.iter().find(|(_, macos, _)| *macos == errno) {
        Some((_, _, linux)) => *linux,
        None if COMMON.contains(&errno) => errno,
        None => EIO,
    }
}

/// Name, and the number on macOS (XNU, bsd/sys/errno.h) and on Linux (include/uapi/asm-generic/errno.h).
type Row = (&'static str, i32, i32);

macro_rules! rows {
    ($($name:ident $macos:literal $linux:literal,)+) => {
        const DIFFERENT: &[Row] = &[$((stringify!($name), $macos, $linux)),+];

        /// The same names with this host's own numbers: each host holds its column of the table to `libc`.
        #[cfg(test)]
        const ON_THIS_HOST: &[(&str, i32)] = &[$((stringify!($name), libc::$name)),+];
    };
}

rows! {
    EDEADLK 11 35,
    EAGAIN 35 11,
    EINPROGRESS 36 115,
    EALREADY 37 114,
    ENOTSOCK 38 88,
    EDESTADDRREQ 39 89,
    EMSGSIZE 40 90,
    EPROTOTYPE 41 91,
    ENOPROTOOPT 42 92,
    EPROTONOSUPPORT 43 93,
    ESOCKTNOSUPPORT 44 94,
    ENOTSUP 45 95,
    EPFNOSUPPORT 46 96,
    EAFNOSUPPORT 47 97,
    EADDRINUSE 48 98,
    EADDRNOTAVAIL 49 99,
    ENETDOWN 50 100,
    ENETUNREACH 51 101,
    ENETRESET 52 102,
    ECONNABORTED 53 103,
    ECONNRESET 54 104,
    ENOBUFS 55 105,
    EISCONN 56 106,
    ENOTCONN 57 107,
    ESHUTDOWN 58 108,
    ETOOMANYREFS 59 109,
    ETIMEDOUT 60 110,
    ECONNREFUSED 61 111,
    ELOOP 62 40,
    ENAMETOOLONG 63 36,
    EHOSTDOWN 64 112,
    EHOSTUNREACH 65 113,
    ENOTEMPTY 66 39,
    EUSERS 68 87,
    EDQUOT 69 122,
    ESTALE 70 116,
    EREMOTE 71 66,
    ENOLCK 77 37,
    ENOSYS 78 38,
    EOVERFLOW 84 75,
    ECANCELED 89 125,
    EIDRM 90 43,
    ENOMSG 91 42,
    EILSEQ 92 84,
    EBADMSG 94 74,
    EMULTIHOP 95 72,
    ENODATA 96 61,
    ENOLINK 97 67,
    ENOSR 98 63,
    ENOSTR 99 60,
    EPROTO 100 71,
    ETIME 101 62,
    EOPNOTSUPP 102 95,
    ENOTRECOVERABLE 104 131,
    EOWNERDEAD 105 130,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_its_host_s() {
        for ((name, macos, linux), (_, here)) in DIFFERENT.iter().zip(ON_THIS_HOST) {
            assert_eq!(if cfg!(target_os = "macos") { macos } else { linux }, here, "{name}");
        }
    }

    #[test]
    fn macos_errnos_become_those_of_the_same_name() {
        assert_eq!(from_macos(66), 39); // ENOTEMPTY
        assert_eq!(from_macos(78), 38); // ENOSYS
        assert_eq!(from_macos(2), 2); // ENOENT
        assert_eq!(from_macos(28), 28); // ENOSPC
        assert_eq!(from_macos(11), 35); // EDEADLK, which is Linux's EAGAIN
        let mut macos: Vec<i32> = DIFFERENT.iter().map(|row| row.1).collect();
        macos.dedup();
        assert!(macos.is_sorted() && macos.len() == DIFFERENT.len(), "a macOS number is there twice or out of order");
    }

    #[test]
    fn one_that_stands_for_others_has_its_name() {
        let told = [libc::EAGAIN, libc::ENOMEM, libc::ENOENT].map(|errno| GuestErrno::new(Errno(errno), true));
        assert_eq!(told.map(|errno| errno.to_string()), ["EIO", "ENOSPC", "Linux errno 2"]);
    }

    #[test]
    fn what_is_no_errno_of_a_guest_s_is_eio() {
        for errno in [i32::MIN, -1, 0, 72, 106, 107, 5000, i32::MAX] {
            assert_eq!(from_macos(errno), EIO, "{errno}"); // 72: EBADRPC
        }
        for errno in [i32::MIN, -5, 0, 512, i32::MAX] {
            assert_eq!(from_linux(errno), EIO, "{errno}"); // 512: ERESTARTSYS
        }
        assert!(TOLD.map(|errno| (from_linux(errno), errno)).all(|(told, errno)| told == errno));
    }
}
