//! The inodes that a guest knows. It may know millions, and only for some of them the server keeps a descriptor; the
//! others are found again by their place in the tree, and are the same file or ESTALE.

use super::paths::{Attributes, DEEPEST, Identity, lies_in, step};
use crate::recent::Recent;
use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The nodeid of the exported directory (`FUSE_ROOT_ID`).
pub(crate) const ROOT: u64 = 1;

/// A descriptor that is a mere path (`O_PATH`).
pub(crate) type PathFd = Arc<OwnedFd>;

#[derive(Debug)]
struct Node {
    identity: Identity,
    /// `S_IFMT` of its mode.
    kind: u32,
    /// How often the guest was told of it, less what it forgot.
    lookups: u64,
    parent: u64,
    name: Box<CStr>,
    /// Kept where the file has no place any more: it was removed or replaced, and the guest may have it open.
    kept: Option<PathFd>,
}

/// A step down the tree: to which inode, which file that is, and its name.
type Step = (u64, Identity, Box<CStr>);

#[derive(Debug)]
struct Table {
    nodes: HashMap<u64, Node>,
    by_identity: HashMap<Identity, u64>,
    next: u64,
    recent: Recent<u64, Found>,
    /// How many nodes have `kept`.
    kept: usize,
}

/// A descriptor, and when it was seen to be that of a file in the tree.
#[derive(Clone, Debug)]
struct Found {
    file: PathFd,
    seen: Instant,
}

/// The inodes that a guest knows.
#[derive(Debug)]
pub(crate) struct Nodes {
    root: PathFd,
    /// For how long a directory is taken to lie in the tree still.
    believed: Duration,
    most_kept: usize,
    table: Mutex<Table>,
}

impl Nodes {
    /// Of a tree with this root, at most `descriptors` of which are open at once. What was seen there is believed for a
    /// time.
    pub(crate) fn new(root: PathFd, descriptors: usize, believed: Duration) -> Self {
        let table = Table {
            nodes: HashMap::new(),
            by_identity: HashMap::new(),
            next: ROOT,
            recent: Recent::new(descriptors / 2),
            kept: 0,
        };
        Self { root, believed, most_kept: descriptors / 2, table: Mutex::new(table) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all, as the guest has.
    pub(crate) fn clear(&self) {
        let mut table = self.table();
        table.nodes.clear();
        table.by_identity.clear();
        table.recent.clear();
        table.kept = 0;
    }

    /// The descriptor of an inode.
    ///
    /// # Errors
    /// EBADF for one that the guest was not told of; ESTALE where its place has another file now, or none; and what opening
    /// says.
    pub(crate) fn descriptor(&self, nodeid: u64) -> io::Result<PathFd> {
        self.found(nodeid).map(|(found, _kind)| found)
    }

    /// The descriptor of a directory.
    pub(crate) fn directory(&self, nodeid: u64) -> io::Result<PathFd> {
        match self.found(nodeid)? {
            (found, libc::S_IFDIR) => Ok(found),
            _ => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        }
    }

    /// The descriptor of a regular file: nothing else is opened on the host for the guest to read or write.
    pub(crate) fn regular(&self, nodeid: u64) -> io::Result<PathFd> {
        match self.found(nodeid)? {
            (found, libc::S_IFREG) => Ok(found),
            (_, libc::S_IFDIR) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
            _ => Err(io::Error::from_raw_os_error(libc::ENXIO)),
        }
    }

    /// The descriptor of an inode, and its kind: `S_IFMT` of its mode.
    pub(crate) fn found(&self, nodeid: u64) -> io::Result<(PathFd, u32)> {
        let (mut here, kind, mut down) = self.nearest(nodeid)?;
        while let Some((at, identity, name)) = down.pop() {
            let found = step(&here, &name).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::EXDEV) => stale(),
                _ => error,
            })?;
            if Attributes::of(&found)?.identity() != identity {
                return Err(stale());
            }
            here = Arc::new(found);
            self.table().saw(at, &here);
        }
        Ok((here, kind))
    }

    /// The nearest descriptor above an inode, or its own; the inode's kind; and the way down from there, the last step
    /// first.
    fn nearest(&self, nodeid: u64) -> io::Result<(PathFd, u32, Vec<Step>)> {
        let mut down = Vec::new();
        let mut table = self.table();
        let kind = if nodeid == ROOT { libc::S_IFDIR } else { table.node(nodeid)?.kind };
        let mut at = nodeid;
        while at != ROOT && down.len() < DEEPEST {
            let node = table.nodes.get(&at).ok_or_else(stale)?; // the guest may have forgotten a parent
            let is_directory = node.kind == libc::S_IFDIR;
            if let Some(kept) = &node.kept {
                return Ok((Arc::clone(kept), kind, down));
            }
            if let Some(Found { file, seen }) = table.recent.get(at) {
                if is_directory && seen.elapsed() >= self.believed {
                    drop(table);
                    if !lies_in(&self.root, &file)? {
                        return Err(stale());
                    }
                    self.table().saw(at, &file);
                }
                return Ok((file, kind, down));
            }
            let node = table.node(at)?;
            down.push((at, node.identity, node.name.clone()));
            at = node.parent;
        }
        if at == ROOT { Ok((Arc::clone(&self.root), kind, down)) } else { Err(stale()) }
    }

    /// Notes that the guest is told of a file, at its place in the tree; its nodeid.
    pub(crate) fn tell(&self, parent: u64, name: &CStr, file: &PathFd, attributes: &Attributes) -> u64 {
        let identity = attributes.identity();
        let mut table = self.table();
        let table = &mut *table;
        let nodeid = *table.by_identity.entry(identity).or_insert_with(|| {
            table.next = table.next.wrapping_add(1); // 2**64 would take for ever
            table.next
        });
        let node = table.nodes.entry(nodeid).or_insert_with(|| Node {
            identity,
            kind: attributes.kind(),
            lookups: 0,
            parent,
            name: CString::default().into_boxed_c_str(),
            kept: None,
        });
        node.lookups = node.lookups.saturating_add(1);
        node.parent = parent;
        if *node.name != *name {
            node.name = name.into();
        }
        if node.kept.take().is_some() {
            table.kept = table.kept.saturating_sub(1); // it has a place again
        }
        table.saw(nodeid, file);
        nodeid
    }

    /// Notes that the guest has forgotten so many of the times it was told; whether it knows the inode no more.
    pub(crate) fn forget(&self, nodeid: u64, times: u64) -> bool {
        let mut table = self.table();
        let Some(node) = table.nodes.get_mut(&nodeid) else { return false };
        node.lookups = node.lookups.saturating_sub(times);
        if node.lookups > 0 {
            return false;
        }
        table.remove(nodeid)
    }

    /// The inode of a file, if the guest knows it.
    pub(crate) fn known(&self, attributes: &Attributes) -> Option<u64> {
        self.table().by_identity.get(&attributes.identity()).copied()
    }

    /// Notes that an inode is at another place now.
    pub(crate) fn moved(&self, nodeid: u64, parent: u64, name: &CStr) {
        let mut table = self.table();
        let table = &mut *table;
        if let Some(node) = table.nodes.get_mut(&nodeid) {
            (node.parent, node.name) = (parent, name.into());
            table.kept = table.kept.saturating_sub(usize::from(node.kept.take().is_some()));
        }
    }

    /// Keeps the descriptor of a file that is about to lose the place `(parent, name)`, if the guest knows it by that
    /// place. Beyond a number of such files, the guest's next look at one may be ESTALE. [`settle`](Self::settle) has to
    /// be told what became of it.
    pub(crate) fn keep(&self, parent: u64, name: &CStr, file: OwnedFd, attributes: &Attributes) -> Option<Leaving> {
        let mut table = self.table();
        let table = &mut *table;
        let nodeid = *table.by_identity.get(&attributes.identity())?;
        let node = table.nodes.get_mut(&nodeid)?;
        if node.kept.is_some() || node.parent != parent || *node.name != *name {
            return None;
        }
        let kept = table.kept < self.most_kept;
        if kept {
            node.kept = Some(Arc::new(file));
            table.kept = table.kept.saturating_add(1);
        }
        Some(Leaving { nodeid, kept, last: attributes.is_last_link() })
    }

    /// Notes whether a file has lost its place; whether the inode is not known any more. If it hasn't, nothing need be
    /// kept; if it has, and could not be kept, nothing can find it again, and a guest that never forgets makes no table
    /// grow.
    pub(crate) fn settle(&self, leaving: &Leaving, gone: bool) -> bool {
        let mut table = self.table();
        let table = &mut *table;
        if leaving.kept && !gone {
            let kept = table.nodes.get_mut(&leaving.nodeid).and_then(|node| node.kept.take());
            table.kept = table.kept.saturating_sub(usize::from(kept.is_some()));
        }
        let lost = gone && leaving.last && !leaving.kept;
        lost && table.remove(leaving.nodeid)
    }

    /// Notes what tells an inode from others now; whether that was something else.
    pub(crate) fn identify(&self, nodeid: u64, attributes: &Attributes) -> bool {
        let mut table = self.table();
        let identity = attributes.identity();
        let Some(node) = table.nodes.get_mut(&nodeid).filter(|node| node.identity != identity) else { return false };
        let before = std::mem::replace(&mut node.identity, identity);
        table.by_identity.remove(&before);
        table.by_identity.insert(identity, nodeid);
        true
    }

    /// How many inodes the guest knows, without the root.
    pub(crate) fn len(&self) -> usize {
        self.table().nodes.len()
    }
}

/// An inode that is about to lose its place.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) nodeid: u64,
    kept: bool,
    /// Whether it has no other place.
    last: bool,
}

impl Table {
    /// Forgets an inode; whether it was known.
    fn remove(&mut self, nodeid: u64) -> bool {
        let removed = self.nodes.remove(&nodeid);
        if let Some(node) = &removed {
            self.by_identity.remove(&node.identity);
            self.kept = self.kept.saturating_sub(usize::from(node.kept.is_some()));
        }
        self.recent.remove(&nodeid);
        removed.is_some()
    }

    fn node(&self, nodeid: u64) -> io::Result<&Node> {
        self.nodes.get(&nodeid).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    /// Notes that a file was seen in the tree.
    fn saw(&mut self, nodeid: u64, file: &PathFd) {
        self.recent.put(nodeid, Found { file: Arc::clone(file), seen: Instant::now() });
    }
}

fn stale() -> io::Error {
    io::Error::from_raw_os_error(libc::ESTALE)
}
