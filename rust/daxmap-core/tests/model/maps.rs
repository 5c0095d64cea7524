//! What the kernel says of this process's memory: `proc_pid_maps(5)`.

use daxmap_core::Mapping;

/// A range of addresses that shows one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// `rw-s`, say.
    pub(crate) access: &'static str,
    /// 0 where it is no file's.
    pub(crate) inode: u64,
    /// What is shown at `start`; 0 where it is no file's.
    pub(crate) file_offset: u64,
}

impl Piece {
    pub(crate) fn hole(start: u64, end: u64) -> Self {
        Self { start, end, access: "---p", inode: 0, file_offset: 0 }
    }

    fn goes_on_as(&self, next: &Self) -> bool {
        let file_offset = if self.inode == 0 { 0 } else { self.file_offset + (self.end - self.start) };
        (self.end, self.access, self.inode, file_offset) == (next.start, next.access, next.inode, next.file_offset)
    }
}

/// The same by address, with neighbours made one that show the same thing, as the kernel may do or not.
fn joined(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.retain(|piece| piece.start < piece.end);
    pieces.sort();
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.goes_on_as(&piece) => last.end = piece.end,
            _ => joined.push(piece),
        }
    }
    joined
}

/// What a host window at `[start, end)` has to show where these mappings are live, by rising offset.
pub(crate) fn window_of(live: &[Mapping], start: u64, end: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut reached = start;
    for mapping in live {
        let (from, to) = (start + mapping.span.start().0, start + mapping.span.end().0);
        pieces.push(Piece::hole(reached, from));
        let access = if mapping.writable { "rw-s" } else { "r--s" };
        let (inode, file_offset) = (mapping.file.ino, mapping.file_offset.0);
        pieces.push(Piece { start: from, end: to, access, inode, file_offset });
        reached = to;
    }
    pieces.push(Piece::hole(reached, end));
    joined(pieces)
}

/// Every mapping of this process.
fn all() -> Vec<Piece> {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().map(parse).collect()
}

/// Those of files with these inodes.
pub(crate) fn of(inodes: &[u64]) -> Vec<Piece> {
    let all = std::fs::read_to_string("/proc/self/maps").unwrap();
    // Few lines of many: to parse them all would be most of a test's time.
    let inodes: Vec<_> = inodes.iter().map(u64::to_string).collect();
    let named = |line: &&str| line.split(' ').nth(4).is_some_and(|field| inodes.iter().any(|inode| inode == field));
    all.lines().filter(named).map(parse).collect()
}

/// How many mappings the kernel has in `[start, end)`.
pub(crate) fn vmas(start: u64, end: u64) -> u64 {
    all().iter().filter(|piece| piece.start < end && piece.end > start).count() as u64
}

/// What `[start, end)` shows.
pub(crate) fn within(start: u64, end: u64) -> Vec<Piece> {
    let mut pieces = all();
    pieces.retain(|piece| piece.start < end && piece.end > start);
    for piece in &mut pieces {
        let cut = start.saturating_sub(piece.start);
        piece.start += cut;
        piece.file_offset += if piece.inode == 0 { 0 } else { cut };
        piece.end = piece.end.min(end);
    }
    joined(pieces)
}

fn parse(line: &str) -> Piece {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let hex = |text| u64::from_str_radix(text, 16).unwrap();
    let (start, end) = fields[0].split_once('-').unwrap();
    let inode = fields[4].parse().unwrap();
    let access = ["---p", "r--s", "rw-s", "rw-p"].into_iter().find(|access| *access == fields[1]).unwrap_or("other");
    Piece { start: hex(start), end: hex(end), access, inode, file_offset: if inode == 0 { 0 } else { hex(fields[2]) } }
}
