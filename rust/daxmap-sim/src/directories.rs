//! Directories as a guest reads them, with all that there is to know of each entry: each is a look-up of its own.

use crate::disk::{DIRECTORY, Name};
use crate::guest::Guest;
use crate::rng::Rng;
use crate::stage::Stage;
use crate::wire::{Body, Opcode, long, word};

/// Size of `struct fuse_entry_out`, and of `struct fuse_dirent` without the name.
const ENTRY: usize = 128;
const DIRENT: usize = 24;

impl Guest {
    /// Reads a whole directory, in pieces of a size.
    pub(crate) fn list(&mut self, stage: &mut Stage, directory: usize, rng: &mut Rng) {
        let nodeid = self.directories[directory];
        let opened = self.machine.ask(stage, Opcode::Opendir, nodeid, &Body::default().words(&[0, 0]), None);
        assert_eq!(opened.errno, 0, "OPENDIR");
        let fh = long(&opened.body, 0);
        let size = rng.pick(&[300, 500, 1000, 4096]);
        let (mut found, mut offset) = (Vec::new(), 0);
        loop {
            let body = Body::default().longs(&[fh, offset]).words(&[size, 0]).longs(&[0]).words(&[0, 0]);
            let piece = self.machine.ask(stage, Opcode::ReaddirPlus, nodeid, &body, None);
            assert_eq!(piece.errno, 0, "READDIRPLUS");
            assert!(piece.body.len() <= size as usize, "READDIRPLUS: more than was asked for");
            if piece.body.is_empty() {
                break;
            }
            offset = self.take_entries(stage, directory, &piece.body, &mut found);
        }
        let body = Body::default().longs(&[fh]).words(&[0, 0]).longs(&[0]);
        assert_eq!(self.machine.ask(stage, Opcode::Releasedir, nodeid, &body, None).errno, 0, "RELEASEDIR");
        found.sort();
        let names = stage.disk.names.keys().filter(|name| name.directory == directory).map(|name| name.text());
        let mut expected: Vec<_> = names.chain((directory == 0).then(|| DIRECTORY.to_owned())).collect();
        expected.sort();
        assert_eq!(found, expected, "the entries of directory {directory}");
    }

    /// Learns of the entries in a reply (`fuse_direntplus_link` of `fs/fuse/readdir.c`); where the next piece begins.
    fn take_entries(&mut self, stage: &Stage, directory: usize, body: &[u8], found: &mut Vec<String>) -> u64 {
        let (mut rest, mut offset) = (body, 0);
        while !rest.is_empty() {
            let (entry, dirent) = rest.split_at(ENTRY);
            let length = word(dirent, 16) as usize;
            let name = String::from_utf8(dirent[DIRENT..DIRENT + length].to_vec()).unwrap();
            offset = long(dirent, 8);
            rest = &dirent[(DIRENT + length).next_multiple_of(8)..];
            if name == "." || name == ".." {
                assert_eq!(long(entry, 0), 0, "{name} is no look-up");
                continue;
            }
            match name.strip_prefix('f').and_then(|number| number.parse().ok()) {
                Some(number) => _ = self.learn(stage, entry, Name { directory, number }),
                None => assert_eq!((&*name, long(entry, 0)), (DIRECTORY, self.directories[1])),
            }
            found.push(name);
        }
        offset
    }
}
