//! The window of a front end: its memory, which it changes when it is told to.
//!
//! `SHMEM_MAP` shows a range of a file, `SHMEM_UNMAP` takes away what one `SHMEM_MAP` gave. What a front end makes of a range that
//! reaches past the end of its file, of an overlap, of a descriptor that is open for reading only, differs: it is found out
//! ([`probe`]) before the guest maps anything. Where no byte past the end may be mapped, a range is made of two pieces: whole
//! pages of the file, and a copy of the rest ([`copies`]).

mod abilities;
mod backend;
mod book;
mod channel;
mod copies;
mod pieces;
mod probe;

pub use abilities::Abilities;
pub use backend::WindowBackend;
pub use channel::Channel;

pub(crate) use {
    backend::{WindowSteps, for_inode, reopener},
    book::{Files, Window},
    probe::Probe,
};
