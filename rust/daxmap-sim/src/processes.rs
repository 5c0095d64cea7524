//! What processes in a guest do with files, and what their kernel asks the server for it.

use crate::disk::{Key, Name, WORD};
use crate::guest::{Guest, Open};
use crate::host::{any_name, any_size};
use crate::rng::Rng;
use crate::scenario::Action;
use crate::stage::Stage;
use crate::wire::{Body, Opcode, long, word};

/// The most files that the processes of a guest have open.
const MOST_OPEN: usize = 12;

impl Guest {
    /// Does something with files.
    pub(crate) fn act(&mut self, stage: &mut Stage, action: Action, rng: &mut Rng) {
        let name = any_name(rng);
        match action {
            Action::LookUp => self.look_up(stage, name),
            Action::Create => self.create(stage, name, rng.one_in(3)),
            Action::Unlink => self.unlink(stage, name),
            Action::Rename => self.rename(stage, name, any_name(rng), rng.pick(&[0, 0, 1, 2])),
            Action::Link => self.with_inode(stage, rng, |guest, stage, nodeid, _| guest.link(stage, nodeid, name)),
            Action::Open => self.with_inode(stage, rng, |guest, stage, nodeid, rng| {
                if guest.opens.len() < MOST_OPEN {
                    guest.open(stage, nodeid, rng.one_in(2));
                }
            }),
            Action::Close if !self.opens.is_empty() => {
                let open = self.opens.swap_remove(rng.index(self.opens.len()));
                self.release(stage, open);
            }
            Action::Stat => self.with_inode(stage, rng, |guest, stage, nodeid, _| guest.stat(stage, nodeid)),
            Action::Truncate => self.with_inode(stage, rng, Self::truncate),
            Action::Evict => self.with_inode(stage, rng, |guest, stage, nodeid, _| {
                if guest.opens.iter().all(|open| open.nodeid != nodeid) {
                    guest.evict(stage, nodeid);
                }
            }),
            Action::List => self.list(stage, rng.index(2), rng),
            Action::Load => self.with_inode(stage, rng, Self::load),
            Action::Read => self.with_open(stage, rng, Self::read),
            Action::Write => self.with_open(stage, rng, Self::write),
            Action::Store => self.with_open(stage, rng, Self::store),
            Action::Allocate => self.with_open(stage, rng, Self::allocate),
            _ => {}
        }
    }

    pub(crate) fn with_inode(
        &mut self,
        stage: &mut Stage,
        rng: &mut Rng,
        call: impl FnOnce(&mut Self, &mut Stage, u64, &mut Rng),
    ) {
        let all: Vec<u64> = self.inodes.keys().copied().collect();
        if !all.is_empty() {
            let nodeid = rng.pick(&all);
            call(self, stage, nodeid, rng);
        }
    }

    fn with_open(
        &mut self,
        stage: &mut Stage,
        rng: &mut Rng,
        call: impl FnOnce(&mut Self, &mut Stage, Open, &mut Rng),
    ) {
        if !self.opens.is_empty() {
            let open = rng.pick(&self.opens);
            call(self, stage, open, rng);
        }
    }

    /// Asks for something that is done with a name, and takes no errno but the one that `errno` says.
    fn ask_by_name(&mut self, stage: &mut Stage, opcode: Opcode, directory: usize, body: &Body, errno: i32) -> Vec<u8> {
        let reply = self.machine.ask(stage, opcode, self.directories[directory], body, None);
        assert_eq!(reply.errno, errno, "{opcode:?}");
        reply.body
    }

    /// What the server says, before anything else, to what would change something.
    fn or_readonly(&self, errno: i32) -> i32 {
        if self.machine.kind.readonly { libc::EROFS } else { errno }
    }

    fn look_up(&mut self, stage: &mut Stage, name: Name) {
        let errno = if stage.disk.names.contains_key(&name) { 0 } else { libc::ENOENT };
        let entry = self.ask_by_name(stage, Opcode::Lookup, name.directory, &Body::default().name(&name.text()), errno);
        if errno == 0 {
            self.learn(stage, &entry, name);
        }
    }

    fn create(&mut self, stage: &mut Stage, name: Name, exclusive: bool) {
        if self.opens.len() >= MOST_OPEN {
            return;
        }
        let there = stage.disk.names.contains_key(&name);
        let flags = (libc::O_RDWR | if exclusive { libc::O_EXCL } else { 0 }).cast_unsigned();
        let body = Body::default().words(&[flags, 0o644, 0o22, 0]).name(&name.text());
        let errno = self.or_readonly(if there && exclusive { libc::EEXIST } else { 0 });
        let made = self.ask_by_name(stage, Opcode::Create, name.directory, &body, errno);
        if errno == 0 {
            if !there {
                stage.disk.made(name);
            }
            let nodeid = self.learn(stage, &made, name);
            self.opens.push(Open { nodeid, fh: long(&made, 128), writable: true });
        }
    }

    fn unlink(&mut self, stage: &mut Stage, name: Name) {
        let there = stage.disk.names.get(&name).copied();
        let errno = self.or_readonly(if there.is_some() { 0 } else { libc::ENOENT });
        self.ask_by_name(stage, Opcode::Unlink, name.directory, &Body::default().name(&name.text()), errno);
        if let Some(key) = there.filter(|_| errno == 0) {
            self.loses(key, name);
            stage.disk.names.remove(&name);
        }
    }

    /// `flags` are those of renameat2(2): 1 is `RENAME_NOREPLACE`, 2 is `RENAME_EXCHANGE`.
    fn rename(&mut self, stage: &mut Stage, from: Name, to: Name, flags: u32) {
        let (moving, other) = (stage.disk.names.get(&from).copied(), stage.disk.names.get(&to).copied());
        let errno = self.or_readonly(match (moving, other, flags) {
            (None, ..) | (_, None, 2) => libc::ENOENT,
            (_, Some(_), 1) => libc::EEXIST,
            _ => 0,
        });
        let body = Body::default().longs(&[self.directories[to.directory]]).words(&[flags, 0]);
        let body = body.name(&from.text()).name(&to.text());
        self.ask_by_name(stage, Opcode::Rename2, from.directory, &body, errno);
        let Some(moving) = moving.filter(|_| errno == 0) else { return };
        if let (Some(other), 0) = (other, flags) {
            self.loses(other, to);
        }
        self.moved(moving, to);
        match other {
            Some(other) if flags == 2 => {
                self.moved(other, from);
                stage.disk.names.insert(from, other);
            }
            Some(other) if other == moving => {} // two names of one file: rename(2) leaves both
            _ => _ = stage.disk.names.remove(&from),
        }
        stage.disk.names.insert(to, moving);
    }

    fn moved(&mut self, key: Key, to: Name) {
        if let Some(nodeid) = self.nodeid_of(key) {
            let inode = self.inodes.get_mut(&nodeid).unwrap();
            (inode.place, inode.kept) = (to, false);
        }
    }

    fn link(&mut self, stage: &mut Stage, nodeid: u64, name: Name) {
        let key = self.inodes[&nodeid].key;
        if stage.disk.links_are_others(key) {
            return;
        }
        let has_name = stage.disk.names.values().any(|of| *of == key);
        let errno = self.or_readonly(match stage.disk.names.contains_key(&name) {
            true => libc::EEXIST,
            false if has_name => 0,
            false => libc::ENOENT, // of a file without a name no link is made
        });
        let body = Body::default().longs(&[nodeid]).name(&name.text());
        let reply = self.machine.ask(stage, Opcode::Link, self.directories[name.directory], &body, None);
        if reply.errno == 0 && errno == 0 {
            stage.disk.names.insert(name, key);
            self.learn(stage, &reply.body, name);
        } else if reply.errno != errno {
            self.may_be_lost(stage, nodeid, reply.errno);
        }
    }

    fn open(&mut self, stage: &mut Stage, nodeid: u64, writable: bool) {
        let flags = if writable { libc::O_RDWR } else { libc::O_RDONLY }.cast_unsigned();
        let reply = self.machine.ask(stage, Opcode::Open, nodeid, &Body::default().words(&[flags, 0]), None);
        match reply.errno {
            0 => self.opens.push(Open { nodeid, fh: long(&reply.body, 0), writable }),
            libc::EROFS => assert!(writable && self.machine.kind.readonly),
            errno => self.may_be_lost(stage, nodeid, errno),
        }
    }

    fn stat(&mut self, stage: &mut Stage, nodeid: u64) {
        let fh = self.opens.iter().find(|open| open.nodeid == nodeid).map(|open| open.fh);
        let body = Body::default().words(&[u32::from(fh.is_some()), 0]).longs(&[fh.unwrap_or(0)]);
        let reply = self.machine.ask(stage, Opcode::Getattr, nodeid, &body, None);
        if reply.errno == 0 {
            self.believe_size(stage, nodeid, &reply.body);
        } else {
            assert!(fh.is_none(), "errno {} for an open file", reply.errno);
            self.may_be_lost(stage, nodeid, reply.errno);
        }
    }

    /// Takes the size from a `struct fuse_attr_out`.
    fn believe_size(&mut self, stage: &Stage, nodeid: u64, reply: &[u8]) {
        let attributes = self.attributes(&stage.disk, self.inodes[&nodeid].key, reply, 16);
        self.inodes.get_mut(&nodeid).unwrap().size = attributes.size;
    }

    fn truncate(&mut self, stage: &mut Stage, nodeid: u64, rng: &mut Rng) {
        const SIZE: u32 = 1 << 3;
        const FH: u32 = 1 << 6;
        let size = any_size(rng);
        let open = self.opens.iter().find(|open| open.nodeid == nodeid && open.writable && rng.one_in(2));
        let (valid, fh) = open.map_or((SIZE, 0), |open| (SIZE | FH, open.fh));
        let body = Body::default().words(&[valid, 0]).longs(&[fh, size, 0, 0, 0, 0]).words(&[0; 8]);
        let reply = self.machine.ask(stage, Opcode::Setattr, nodeid, &body, None);
        match reply.errno {
            0 => {
                stage.disk.resized(self.inodes[&nodeid].key, size);
                self.believe_size(stage, nodeid, &reply.body);
            }
            libc::EROFS => assert!(self.machine.kind.readonly),
            errno => self.may_be_lost(stage, nodeid, errno),
        }
    }

    fn allocate(&mut self, stage: &mut Stage, open: Open, rng: &mut Rng) {
        const KEEP_SIZE: u32 = 1;
        const PUNCH_HOLE: u32 = 2;
        if !open.writable {
            return;
        }
        let mode = rng.pick(&[0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE]);
        let (offset, length) = (any_size(rng), WORD * (1 + rng.below(4096)));
        let body = Body::default().longs(&[open.fh, offset, length]).words(&[mode, 0]);
        let reply = self.machine.ask(stage, Opcode::Fallocate, open.nodeid, &body, None);
        assert_eq!(reply.errno, 0, "FALLOCATE");
        let inode = self.inodes.get_mut(&open.nodeid).unwrap();
        if mode & PUNCH_HOLE != 0 {
            stage.disk.punched(inode.key, offset, length);
        } else if mode == 0 {
            stage.disk.wrote(inode.key, offset + length, &[]);
            inode.size = inode.size.max(offset + length);
        }
    }

    /// A load through mmap(2).
    fn load(&mut self, stage: &mut Stage, nodeid: u64, rng: &mut Rng) {
        if self.machine.kind.hostile {
            let _ = self.machine.checked_load(stage, self.any_place(rng));
        } else if let Some(offset) = self.any_offset(nodeid, rng) {
            self.see(stage, nodeid, offset, true);
        }
    }

    /// Anywhere in the window.
    fn any_place(&self, rng: &mut Rng) -> u64 {
        any_size(rng) % self.machine.mapper.window().size()
    }

    fn any_offset(&self, nodeid: u64, rng: &mut Rng) -> Option<u64> {
        let inode = &self.inodes[&nodeid];
        (inode.dax && inode.size > 0).then(|| any_size(rng) % inode.size)
    }

    /// Loads a word through the window.
    fn see(&mut self, stage: &mut Stage, nodeid: u64, offset: u64, in_fault: bool) {
        let Ok(at) = self.seen_at(stage, nodeid, offset, false, in_fault) else { return };
        let found = self.machine.checked_load(stage, at);
        let expected = stage.disk.word(self.inodes[&nodeid].key, offset);
        assert!(self.machine.has_failed || found.ok() == expected, "{found:x?} in place of {expected:x?}");
        stage.count(if found.is_ok() { "a load" } else { "a load faulted" }, 1);
    }

    /// read(2): through the window, or by READ where the file is not mapped.
    fn read(&mut self, stage: &mut Stage, open: Open, rng: &mut Rng) {
        if !self.machine.kind.hostile
            && let Some(offset) = self.any_offset(open.nodeid, rng)
        {
            return self.see(stage, open.nodeid, offset, false);
        }
        let (offset, length) = (any_size(rng), 8 * (1 + rng.below(1000)));
        let size = u32::try_from(length).unwrap();
        let body = Body::default().longs(&[open.fh, offset]).words(&[size, 0]).longs(&[0]).words(&[0, 0]);
        let reply = self.machine.ask(stage, Opcode::Read, open.nodeid, &body, None);
        assert_eq!(reply.errno, 0, "READ");
        let key = self.inodes[&open.nodeid].key;
        assert!(reply.body == stage.disk.bytes(key, offset, length), "READ of file {key} at {offset:#x}: other bytes");
    }

    /// write(2): through the window; by WRITE where the file is not mapped, or grows.
    fn write(&mut self, stage: &mut Stage, open: Open, rng: &mut Rng) {
        if !open.writable {
            return;
        }
        let inode = &self.inodes[&open.nodeid];
        let offset = any_size(rng);
        if !self.machine.kind.hostile && inode.dax && offset + WORD <= inode.size {
            return self.change(stage, open.nodeid, offset, false);
        }
        let append = rng.one_in(4);
        let count = 1 + rng.below(600);
        let words: Vec<u64> = (0..count).map(|_| stage.disk.new_word()).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let size = u32::try_from(bytes.len()).unwrap();
        let flags = if append { libc::O_APPEND.cast_unsigned() } else { 0 };
        let body = Body::default().longs(&[open.fh, offset]).words(&[size, 0]).longs(&[0]).words(&[flags, 0]);
        let planned = stage.plan.write;
        let reply = self.machine.ask(stage, Opcode::Write, open.nodeid, &body.bytes(&bytes), None);
        assert_eq!(reply.errno, planned.unwrap_or(0), "WRITE");
        if reply.errno == 0 {
            assert_eq!(word(&reply.body, 0), size, "WRITE");
            let inode = self.inodes.get_mut(&open.nodeid).unwrap();
            let at = if append { stage.disk.files[inode.key].size } else { offset };
            stage.disk.wrote(inode.key, at, &words);
            inode.size = inode.size.max(at + u64::from(size));
        }
    }

    /// A store through mmap(2).
    fn store(&mut self, stage: &mut Stage, open: Open, rng: &mut Rng) {
        if self.machine.kind.hostile {
            let at = self.any_place(rng);
            let _ = self.machine.checked_store(stage, at);
        } else if let Some(offset) = self.any_offset(open.nodeid, rng).filter(|_| open.writable) {
            self.change(stage, open.nodeid, offset, true);
        }
    }

    /// Stores a word through the window.
    fn change(&mut self, stage: &mut Stage, nodeid: u64, offset: u64, in_fault: bool) {
        let Ok(at) = self.seen_at(stage, nodeid, offset, true, in_fault) else { return };
        let done = self.machine.checked_store(stage, at);
        let key = self.inodes[&nodeid].key;
        let is_in_file = offset < stage.disk.files[key].size;
        assert!(
            self.machine.has_failed || done.is_ok() == is_in_file,
            "a store to file {key} at {offset:#x}: {done:?}"
        );
        stage.count(if done.is_ok() { "a store" } else { "a store faulted" }, 1);
    }
}
