//! What no Linux guest sends: mappings of any pages, over any others, and requests that break the format.

use crate::guest::Guest;
use crate::kernel::Inode;
use crate::rng::Rng;
use crate::scenario::Action;
use crate::stage::Stage;
use crate::wire::{Body, NO_FH, Opcode};
use daxmap_core::{DAX_RANGE, Mapping, page_size};

impl Guest {
    pub(crate) fn attack(&mut self, stage: &mut Stage, action: Action, rng: &mut Rng) {
        match action {
            Action::MapAnything => self.with_inode(stage, rng, |guest, stage, nodeid, rng| {
                let live = &guest.machine.naive.live;
                if !live.is_empty() && rng.one_in(4) {
                    let live = live[rng.index(live.len())];
                    return guest.map_in_place_of(stage, nodeid, &live, rng);
                }
                let range = guest.any_range(rng);
                let file_offset = any_offset(rng, 4);
                guest.ask_to_map(stage, nodeid, file_offset, range, rng.one_in(2));
            }),
            Action::RemoveAnything => {
                let is_limited = self.machine.naive.is_limited();
                let count = if is_limited { 1 } else { 1 + rng.index(4) };
                let entries: Vec<_> = (0..count).map(|_| self.any_range(rng)).collect();
                let everything = [(any_offset(rng, 4), u64::MAX)];
                let _ = self.remove(stage, if rng.one_in(8) { &everything } else { &entries });
            }
            Action::Malformed => self.break_the_format(stage, rng),
            _ => {}
        }
    }

    /// Maps the very range and offset of a mapping that is live: of its file, of one that has the same inode number, or of
    /// the one that is given.
    fn map_in_place_of(&mut self, stage: &mut Stage, nodeid: u64, live: &Mapping, rng: &mut Rng) {
        let has_its_number = |inode: &Inode| stage.disk.id(inode.key).ino == live.file.ino;
        let all: Vec<u64> = self.inodes.iter().filter(|(_, inode)| has_its_number(inode)).map(|(id, _)| *id).collect();
        let nodeid = if all.is_empty() || rng.one_in(3) { nodeid } else { rng.pick(&all) };
        let range = (live.span.start().0, live.span.length());
        self.ask_to_map(stage, nodeid, live.file_offset.0, range, rng.one_in(2));
    }

    /// A range that mostly lies in the window.
    fn any_range(&self, rng: &mut Rng) -> (u64, u64) {
        let page = page_size();
        let lengths = [page, 2 * page, 3 * page, DAX_RANGE - page, DAX_RANGE, DAX_RANGE + page, 2 * DAX_RANGE];
        let length = if rng.one_in(40) { rng.pick(&[0, 1, u64::MAX - page + 1]) } else { rng.pick(&lengths) };
        (any_offset(rng, self.machine.kind.ranges), length)
    }

    fn break_the_format(&mut self, stage: &mut Stage, rng: &mut Rng) {
        let nodeid = self.directories[0];
        let setup = |flags| Body::default().longs(&[NO_FH, 0, page_size(), flags, 0]);
        let removal = |count: u32| Body::default().words(&[count]).longs(&[0, page_size()]);
        let (opcode, body) = match rng.below(6) {
            0 => (Opcode::SetupMapping, setup(rng.pick(&[0, 1, 4, 6, u64::MAX]))),
            1 => (Opcode::SetupMapping, setup(2).longs(&[0])),
            2 => (Opcode::SetupMapping, Body(setup(2).0[..33].to_vec())),
            3 => (Opcode::RemoveMapping, removal(rng.pick(&[0, 2, 4097, u32::MAX]))),
            4 => (Opcode::RemoveMapping, removal(1).bytes(&[0])),
            _ => (Opcode::RemoveMapping, removal(2).longs(&[0, u64::MAX])),
        };
        let reply = self.machine.ask(stage, opcode, nodeid, &body, None);
        assert_eq!(reply.errno, libc::EINVAL, "a malformed {opcode:?}");
    }
}

/// Of a page near the start of a range of 2 MiB, or the last one in it; sometimes of no page.
fn any_offset(rng: &mut Rng, ranges: u64) -> u64 {
    let page = page_size();
    let near = [0, 0, 0, page, 2 * page, 3 * page, DAX_RANGE - page];
    let offset = rng.below(ranges) * DAX_RANGE + rng.pick(&near);
    if rng.one_in(60) { offset + rng.pick(&[1, 512]) } else { offset }
}
