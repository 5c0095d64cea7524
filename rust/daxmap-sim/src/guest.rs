//! A guest: the machine that it runs on, and what its kernel knows.

use crate::disk::{DIRECTORY, Disk, Key, Name};
use crate::kernel::{Inode, Ranges};
use crate::machine::Machine;
use crate::model::requests::Request;
use crate::scenario::{MachineKind, Unmount};
use crate::stage::Stage;
use crate::wire::{Attributes, Body, Opcode, ROOT, long, word};
use daxmap_core::page_size;
use std::collections::BTreeMap;

/// An open file of some process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) nodeid: u64,
    pub(crate) fh: u64,
    pub(crate) writable: bool,
}

#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) machine: Machine,
    pub(crate) ranges: Ranges,
    pub(crate) inodes: BTreeMap<u64, Inode>,
    pub(crate) opens: Vec<Open>,
    /// The nodeids of both directories.
    pub(crate) directories: [u64; 2],
}

impl Guest {
    /// Powers a machine on, and mounts the share.
    pub(crate) fn new(number: usize, kind: MachineKind, stage: &mut Stage) -> Self {
        let machine = Machine::new(number, kind, stage);
        let mut guest = Self {
            machine,
            ranges: Ranges::new(kind.ranges),
            inodes: BTreeMap::new(),
            opens: Vec::new(),
            directories: [ROOT; 2],
        };
        guest.mount(stage);
        guest
    }

    /// INIT, by a kernel that knows nothing of what was before.
    pub(crate) fn mount(&mut self, stage: &mut Stage) {
        const MAP_ALIGNMENT: u32 = 1 << 26;
        const INIT_EXT: u32 = 1 << 30;
        const HAS_INODE_DAX: u32 = 1 << 1; // of flags2
        self.ranges = Ranges::new(self.machine.kind.ranges);
        self.inodes.clear();
        self.opens.clear();
        let mut body = Body::default().words(&[7, 41, 128 << 10, u32::MAX, HAS_INODE_DAX]);
        body.0.resize(64, 0);
        let reply = self.start(stage, Opcode::Init, &body);
        let (flags, flags2) = (word(&reply, 12), word(&reply, 32));
        assert_eq!(flags & (MAP_ALIGNMENT | INIT_EXT), MAP_ALIGNMENT | INIT_EXT, "DAX is not offered: {flags:#x}");
        assert_eq!(flags2 & HAS_INODE_DAX, HAS_INODE_DAX);
        assert_eq!(word(&reply, 28) >> 16, page_size().trailing_zeros(), "map_alignment");
        let entry = self.machine.ask(stage, Opcode::Lookup, ROOT, &Body::default().name(DIRECTORY), None);
        assert_eq!(entry.errno, 0);
        self.directories[1] = long(&entry.body, 0);
    }

    /// Sends what makes the server forget all.
    fn start(&mut self, stage: &mut Stage, opcode: Opcode, body: &Body) -> Vec<u8> {
        let means = (!self.machine.naive.closed).then_some(Request::Reset);
        let reply = self.machine.ask(stage, opcode, 0, body, means.as_ref());
        assert_eq!(reply.errno, 0, "{opcode:?}");
        reply.body
    }

    /// Unmounts, as its kernel does it, and mounts again.
    pub(crate) fn remount(&mut self, stage: &mut Stage) {
        while let Some(open) = self.opens.pop() {
            self.release(stage, open);
        }
        if self.machine.kind.unmount == Unmount::Removes {
            let all: Vec<u64> = self.inodes.keys().copied().collect();
            for nodeid in all {
                self.evict(stage, nodeid);
            }
        }
        self.start(stage, Opcode::Destroy, &Body::default());
        self.mount(stage);
    }

    /// `fuse_evict_inode` of fs/fuse/inode.c.
    pub(crate) fn evict(&mut self, stage: &mut Stage, nodeid: u64) {
        self.give_back_all_of(stage, nodeid);
        let inode = self.inodes.remove(&nodeid).unwrap();
        self.forget(stage, nodeid, inode.lookups);
    }

    /// One by one, or by a list (`fuse_dev_read` of `fs/fuse/dev.c` makes one of those that wait).
    fn forget(&mut self, stage: &mut Stage, nodeid: u64, lookups: u64) {
        if lookups.is_multiple_of(2) {
            let body = Body::default().words(&[1, 0]).longs(&[nodeid, lookups]);
            self.machine.ask(stage, Opcode::BatchForget, 0, &body, None);
        } else {
            self.machine.ask(stage, Opcode::Forget, nodeid, &Body::default().longs(&[lookups]), None);
        }
    }

    pub(crate) fn release(&mut self, stage: &mut Stage, open: Open) {
        let body = Body::default().longs(&[open.fh]).words(&[0, 0]).longs(&[0]);
        let reply = self.machine.ask(stage, Opcode::Release, open.nodeid, &body, None);
        assert_eq!(reply.errno, 0, "RELEASE");
    }

    /// Learns of an inode from a `struct fuse_entry_out`.
    pub(crate) fn learn(&mut self, stage: &Stage, entry: &[u8], name: Name) -> u64 {
        let key = stage.disk.names[&name];
        let nodeid = long(entry, 0);
        let attributes = self.attributes(&stage.disk, key, entry, 40);
        for (other, inode) in &self.inodes {
            assert_eq!(*other == nodeid, inode.key == key, "node {nodeid} is file {key}, node {other} {}", inode.key);
        }
        let Attributes { size, dax, .. } = attributes;
        let inode = self.inodes.entry(nodeid).or_insert_with(|| {
            let (lookups, tree) = (0, BTreeMap::new());
            Inode { key, size, dax, lookups, place: name, kept: false, tree }
        });
        inode.lookups += 1;
        (inode.place, inode.kept, inode.size) = (name, false, size);
        nodeid
    }

    /// The attributes in a reply, which are those of the file.
    pub(crate) fn attributes(&self, disk: &Disk, key: Key, reply: &[u8], at: usize) -> Attributes {
        let attributes = Attributes::at(reply, at);
        let (ino, size) = (disk.id(key).ino, disk.files[key].size);
        let dax = self.machine.kind.dax.attr_flags(libc::S_IFREG, size) != 0;
        assert_eq!(attributes, Attributes { ino, size, dax }, "file {key}");
        attributes
    }

    /// Whether the server has to find an inode: it does not, where others than its guest have moved it.
    pub(crate) fn can_be_found(&self, stage: &Stage, nodeid: u64) -> bool {
        let inode = &self.inodes[&nodeid];
        inode.kept || stage.disk.names.get(&inode.place) == Some(&inode.key)
    }

    /// The server knows the inodes that its guest knows, and the directory; not one that nobody can find any more, perhaps.
    pub(crate) fn check_inodes(&self, stage: &Stage) {
        let (known, all) = (self.machine.known_inodes(), self.inodes.len() + 1);
        let can_all_be_found = self.inodes.keys().all(|nodeid| self.can_be_found(stage, *nodeid));
        assert!(known == all || known < all && !can_all_be_found, "the server knows {known} inodes, its guest {all}");
    }

    /// Takes an errno that says that an inode can't be found, where that may be.
    pub(crate) fn may_be_lost(&self, stage: &Stage, nodeid: u64, errno: i32) {
        let inode = &self.inodes[&nodeid];
        assert!(
            !self.can_be_found(stage, nodeid),
            "errno {errno} for file {}, which is at {:?}",
            inode.key,
            inode.place
        );
        assert!(matches!(errno, libc::ESTALE | libc::EBADF), "errno {errno} for a file that has moved");
    }

    /// The inode of a file that the guest knows.
    pub(crate) fn nodeid_of(&self, key: Key) -> Option<u64> {
        self.inodes.iter().find(|(_, inode)| inode.key == key).map(|(nodeid, _)| *nodeid)
    }

    /// Notes that the file at `name` is about to lose that place, by the guest's own doing: the server keeps some of these open.
    pub(crate) fn loses(&mut self, key: Key, name: Name) {
        let most = usize::try_from(self.machine.kind.max_open / 4 / 2).unwrap();
        let kept = self.inodes.values().filter(|inode| inode.kept).count();
        if let Some(nodeid) = self.nodeid_of(key) {
            let inode = self.inodes.get_mut(&nodeid).unwrap();
            inode.kept |= inode.place == name && kept < most;
        }
    }
}
