//! The socket at which front ends find the device.

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
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
            match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => return Err(SocketError::InUse),
                // Full, or not ours to connect to: somebody has it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(SocketError::InUse),
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
