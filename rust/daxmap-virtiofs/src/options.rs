//! What a share is to be like.

use daxmap_core::fuse::Policy;

/// Whose files are, that a guest makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The user's of the guest that made them: the server needs the right to act as any user.
    Guest,
    /// The server's own: an unprivileged process will do.
    Host,
}

/// How long a guest may believe what it has read of names and attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Not at all: each look asks the server.
    Never,
    /// A second.
    Auto,
    /// A day: nobody but the guest changes the directory.
    Always,
}

/// What a share is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Refuses whatever would change a file, with EROFS.
    pub readonly: bool,
    /// Which files the guest is to map.
    pub dax: Policy,
    /// Whose new files are.
    pub owner: Owner,
    /// What the guest may keep in mind.
    pub cache: Cache,
    /// The most file descriptors that the server keeps; by default half of what the process may have.
    pub max_open: Option<u64>,
}
