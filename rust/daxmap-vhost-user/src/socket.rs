//! The socket at which front ends find the device.

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The longest path of a socket in bytes: `sun_path` of `struct sockaddr_un`, and its NUL.
const LONGEST: usize = 107;

/// Why there is no socket.
#[derive(Debug)]
pub enum SocketError {
    /// Its path has more bytes than a socket's can have.
    TooLong(usize),
    /// Somebody listens there.
    InUse,
    /// There is something that is no socket.
    NotASocket,
    /// Its directory, or what it is in, makes trouble.
    Host(io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(length) => write!(f, "its path has {length} bytes, and a socket's has {LONGEST} at most"),
            Self::InUse => f.write_str("another server listens there"),
            Self::NotASocket => f.write_str("there is a file that is no socket"),
            Self::Host(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SocketError {}

impl<E: Into<io::Error>> From<E> for SocketError {
    fn from(error: E) -> Self {
        Self::Host(error.into())
    }
}

/// A socket that listens. Its file goes with it, if it is still its own.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    directory: OwnedFd,
    name: PathBuf,
    identity: (u64, u64),
}

impl Socket {
    /// Listens at `path`; the owner alone may connect. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// Any [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let length = path.as_os_str().len();
        if length > LONGEST {
            return Err(SocketError::TooLong(length));
        }
        let name = path.file_name().ok_or(SocketError::Host(io::ErrorKind::InvalidInput.into()))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        // Of two that find the same old socket, one replaces it, and the other finds that one in use.
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
        let bound = Self::bind_locked(path, name.as_ref(), &directory);
        rustix::fs::flock(&directory, FlockOperation::Unlock)?;
        let listener = bound?;
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Self { listener, directory, name: name.into(), identity: (stat.st_dev, stat.st_ino) })
    }

    fn bind_locked(path: &Path, name: &Path, directory: &OwnedFd) -> Result<UnixListener, SocketError> {
        if let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Socket {
                return Err(SocketError::NotASocket);
            }
            match connect(path) {
                Err(Errno::CONNREFUSED) => rustix::fs::unlinkat(directory, name, AtFlags::empty())?,
                Err(Errno::NOENT) => {} // it has just gone
                // EAGAIN: as many wait there as may.
                Ok(()) | Err(Errno::AGAIN) => return Err(SocketError::InUse),
                Err(error) => return Err(error.into()),
            }
        }
        let before = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        Ok(listener?)
    }

    /// Who waits to be served.
    #[must_use]
    pub fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// The directory that the socket's file is in.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Ok(stat) = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) else { return };
        if (stat.st_dev, stat.st_ino) == self.identity {
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty()); // the directory may be read-only by now
        }
    }
}

/// Connects, without waiting for room in the queue of a server that is slow to accept, and lets go again.
fn connect(path: &Path) -> rustix::io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::FileType;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    /// A path for a socket of this test's own. All are in one directory, so that of two tests one at a time changes the umask.
    fn free_path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("daxmap-socket-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path); // of a test that failed
        path
    }

    fn why_not(path: &Path) -> String {
        Socket::bind(path).unwrap_err().to_string()
    }

    #[test]
    fn its_owner_alone_may_connect_and_its_file_goes_with_it() {
        let path = free_path("owner");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let client = UnixStream::connect(&path).unwrap();
        socket.listener().accept().unwrap();
        assert!(rustix::io::fcntl_getfd(socket.directory()).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        drop((client, socket));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_has_taken_its_place_stays() {
        let path = free_path("place");
        let socket = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(why_not(&path), "there is a file that is no socket");
        drop(socket);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_socket_is_replaced_when_nobody_listens() {
        let path = free_path("old");
        drop(UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(why_not(&path), "another server listens there");
        drop(socket);
    }

    #[test]
    fn a_server_whose_queue_is_full_is_not_waited_for() {
        let path = free_path("full");
        let server = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&server, 0).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        assert_eq!(why_not(&path), "another server listens there");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_socket_that_goes_while_it_is_looked_at_is_in_nobodys_way() {
        let (seen, gone) = (free_path("seen"), free_path("gone"));
        drop(UnixListener::bind(&seen).unwrap());
        let directory = rustix::fs::open(std::env::temp_dir(), OFlags::RDONLY, Mode::empty()).unwrap();
        rustix::fs::flock(&directory, FlockOperation::LockExclusive).unwrap();
        let listener = Socket::bind_locked(&gone, seen.file_name().unwrap().as_ref(), &directory);
        drop((directory, listener.unwrap()));
        fs::remove_file(&seen).unwrap();
        fs::remove_file(&gone).unwrap();
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let full = free_path("long").into_os_string().into_string().unwrap();
        assert!(full.len() < 107, "TMPDIR is too long for a socket");
        let long = |length: usize| PathBuf::from(format!("{full}{}", "x".repeat(length - full.len())));
        drop(Socket::bind(&long(107)).unwrap());
        assert_eq!(why_not(&long(108)), "its path has 108 bytes, and a socket's has 107 at most");
        assert!(matches!(Socket::bind(Path::new("/")), Err(SocketError::Host(_))));
        // To open a pipe waits for who writes to it.
        let pipe = free_path("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(why_not(&pipe.join("socket")), io::Error::from(Errno::NOTDIR).to_string());
        fs::remove_file(&pipe).unwrap();
    }
}
