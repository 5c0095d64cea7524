//! A guest that sends anything: requests of every opcode, of which most make some sense, since what makes none is refused
//! at once.

use super::random::Random;

const OPCODES: [u32; 53] = [
    1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 27, 28, 29,
    30, 31, 32, 33, 34, 35, 36, 37, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
];
const NAMES: [&[u8]; 16] =
    [b"a", b"b", b"d", b"e", b"out", b"up", b"here", b"fifo", b"socket", b"root", b"new", b"x", b"y", b"z", b"c", b"f"];
/// None of a file that would be missed: a server with a fault, as `make mutants` makes them, may do with it what it is told, as root.
const BAD_NAMES: [&[u8]; 9] =
    [b"", b".", b"..", b"a/b", b"../outside/secret", b"/proc/version", b"d/../../outside/secret", b"\xff\xfe", b"a\0b"];
const XATTRS: [&[u8]; 7] =
    [b"user.a", b"user.b", b"trusted.a", b"security.capability", b"system.posix_acl_access", b"", b"user."];
const NUMBERS: [u64; 22] = [
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    24,
    39,
    40,
    255,
    256,
    4095,
    4096,
    4097,
    65_536,
    1 << 20,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 4095,
    u64::MAX,
];

/// What a guest knows, or makes up.
pub(crate) struct Guest {
    pub(crate) random: Random,
    nodes: Vec<u64>,
    /// With the inode that each is of.
    handles: Vec<(u64, u64)>,
    sent: u64,
}

/// One request, and what of it tells what the reply means.
pub(crate) struct Asked {
    pub(crate) bytes: Vec<u8>,
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    nodeid: u64,
}

impl Asked {
    /// The handle that a RELEASE is about.
    fn handle(&self) -> Option<u64> {
        self.bytes.get(40..48).map(|fh| u64::from_le_bytes(fh.try_into().unwrap()))
    }
}

impl Guest {
    pub(crate) fn new(random: Random) -> Self {
        Self { random, nodes: vec![1], handles: Vec::new(), sent: 0 }
    }

    fn number(&mut self) -> u64 {
        if self.random.one_in(20) { self.random.next() } else { self.random.pick(&NUMBERS) }
    }

    fn node(&mut self) -> u64 {
        match self.random.below(20) {
            0 => self.number(),
            1..4 => 1,
            _ => self.random.pick(&self.nodes),
        }
    }

    fn handle(&mut self) -> (u64, u64) {
        if self.handles.is_empty() || self.random.one_in(20) {
            return (self.node(), self.number());
        }
        let (node, fh) = self.random.pick(&self.handles);
        if self.random.one_in(20) { (self.node(), fh) } else { (node, fh) }
    }

    fn name(&mut self, body: &mut Vec<u8>) {
        match self.random.below(40) {
            0..4 => body.extend(self.random.pick(&BAD_NAMES)),
            4 => body.extend(std::iter::repeat_n(b'n', self.random.pick(&[254, 255, 256, 4095, 4096, 70_000]))),
            _ => body.extend(self.random.pick(&NAMES)),
        }
        if !self.random.one_in(40) {
            body.push(0);
        }
    }

    /// The body of a request, and the inode that it is about.
    #[allow(clippy::too_many_lines)] // one arm an opcode
    fn body(&mut self, opcode: u32) -> (u64, Vec<u8>) {
        let mut body = Vec::new();
        let mut node = self.node();
        let longs = |body: &mut Vec<u8>, all: &[u64]| all.iter().for_each(|long| body.extend(long.to_le_bytes()));
        let words = |body: &mut Vec<u8>, all: &[u32]| all.iter().for_each(|word| body.extend(word.to_le_bytes()));
        let flags = self.random.pick(&[0, 0, 1, 2, 2, 3, 0o1001, 0o1002, 0o2002, 0o20_200_000, 0o10_000_000, u32::MAX]);
        match opcode {
            2 => longs(&mut body, &[self.random.pick(&[1, 1, 1, 2, u64::MAX])]),
            3 => {
                let (of, fh) = self.handle();
                let by_handle = self.random.one_in(2);
                node = if by_handle { of } else { node };
                words(&mut body, &[u32::from(by_handle), 0]);
                longs(&mut body, &[fh]);
            }
            4 => {
                let (of, fh) = self.handle();
                let valid = if self.random.one_in(10) { self.random.word() } else { 1 << self.random.below(12) };
                node = if valid & 1 << 6 == 0 { node } else { of };
                words(&mut body, &[valid, 0]);
                longs(&mut body, &[fh, self.size(), 0, self.number(), self.number(), 0]);
                words(&mut body, &[self.random.word(), self.random.word(), 0, self.random.word() & 0o177_777, 0]);
                words(&mut body, &[self.random.pick(&[0, 1, 1000, u32::MAX]), self.random.pick(&[0, 1, u32::MAX]), 0]);
            }
            6 => {
                self.name(&mut body);
                let target: &[u8] = self.random.pick(&[&b"a"[..], b"../outside", b"/", b""]);
                body.extend(target);
                body.push(0);
            }
            8 => {
                let kind =
                    self.random.pick(&[0, 0o10_000, 0o20_000, 0o60_000, 0o100_000, 0o120_000, 0o140_000, 0o170_000]);
                words(&mut body, &[kind | self.random.word() & 0o7777, self.random.word(), 0o22, 0]);
                self.name(&mut body);
            }
            9 => {
                words(&mut body, &[self.random.word() & 0o7777 | 0o700, 0o22]);
                self.name(&mut body);
            }
            12 | 45 => {
                longs(&mut body, &[self.node()]);
                if opcode == 45 {
                    words(&mut body, &[self.random.pick(&[0, 1, 2, 3, 4, 8, u32::MAX]), 0]);
                }
                self.name(&mut body);
                self.name(&mut body);
            }
            13 => {
                longs(&mut body, &[self.node()]);
                self.name(&mut body);
            }
            14 | 27 => words(&mut body, &[flags, self.random.word()]),
            15 | 28 | 44 => {
                let (of, fh) = self.handle();
                node = of;
                longs(&mut body, &[fh, self.number()]);
                words(&mut body, &[self.length(), 0, 0, 0, flags, 0]);
            }
            16 => {
                let (of, fh) = self.handle();
                node = of;
                let length = self.random.pick(&[0, 1, 100, 4096, 5000]);
                let offset = self.size();
                longs(&mut body, &[fh, offset]);
                let lie = if self.random.one_in(20) { self.length() } else { length };
                words(&mut body, &[lie, self.random.word(), 0, 0, flags, 0]);
                body.resize(40 + length as usize, b'w');
            }
            18 | 29 => {
                let (of, fh) = self.handle();
                node = of;
                longs(&mut body, &[fh]);
                words(&mut body, &[0, 3, 0, 0]);
            }
            20 | 30 | 25 => {
                let (of, fh) = self.handle();
                node = of;
                longs(&mut body, &[fh]);
                words(&mut body, &[1, 0]);
                body.resize(if opcode == 25 { 24 } else { 16 }, 0);
            }
            21 => {
                let value = self.random.pick(&[0, 1, 100, 65_536, 65_537]);
                let says = if self.random.one_in(20) { self.length() } else { value };
                words(&mut body, &[says, self.random.pick(&[0, 0, 1, 2, 3, u32::MAX])]);
                body.extend(self.random.pick(&XATTRS));
                body.push(0);
                body.resize(body.len() + value as usize, b'v');
            }
            22 | 23 => {
                words(&mut body, &[self.length(), 0]);
                if opcode == 22 {
                    body.extend(self.random.pick(&XATTRS));
                    body.push(0);
                }
            }
            24 => {
                body.extend(self.random.pick(&XATTRS));
                body.push(0);
            }
            35 => {
                words(&mut body, &[flags, self.random.word() & 0o7777, 0o22, 0]);
                self.name(&mut body);
            }
            42 => {
                let many = self.random.below(5);
                let says = if self.random.one_in(10) { self.length() } else { u32::try_from(many).unwrap() };
                words(&mut body, &[says, 0]);
                for _ in 0..many {
                    let of = self.node();
                    longs(&mut body, &[of, 1]);
                }
            }
            43 => {
                let (of, fh) = self.handle();
                node = of;
                longs(&mut body, &[fh, self.size(), self.size()]);
                words(&mut body, &[self.random.pick(&[0, 1, 2, 3, 8, 16, 32, 64, u32::MAX]), 0]);
            }
            46 => {
                let (of, fh) = self.handle();
                node = of;
                longs(&mut body, &[fh, self.number()]);
                words(&mut body, &[self.random.pick(&[0, 1, 2, 3, 4, 5, u32::MAX]), 0]);
            }
            48 => {
                let (of, mut fh) = self.handle();
                if self.random.one_in(2) {
                    fh = u64::MAX;
                } else {
                    node = of;
                }
                let at = self.random.below(16) as u64 * 4096;
                let page = self.random.pick(&[4096, 4096, 4096, 8192, 4095, u64::MAX]);
                longs(&mut body, &[fh, self.random.pick(&[0, 0, 0, 4096, u64::MAX - 4095]), page]);
                longs(&mut body, &[self.random.pick(&[2, 2, 3, 3, 3, 1, 4]), at]);
            }
            49 => {
                words(&mut body, &[1]);
                longs(&mut body, &[self.random.below(16) as u64 * 4096, self.random.pick(&[4096, 8192, u64::MAX])]);
            }
            1 | 10 | 11 => self.name(&mut body),
            _ => (0..self.random.below(100)).for_each(|_| body.push(self.random.word() as u8)),
        }
        (node, body)
    }

    /// Of a file: what neither takes much memory nor is refused, and what is refused for sure.
    fn size(&mut self) -> u64 {
        self.random.pick(&[0, 1, 4096, 4097, 10_000, 1 << 20, 1 << 62, 1 << 63, u64::MAX])
    }

    fn length(&mut self) -> u32 {
        self.random.pick(&[0, 1, 16, 32, 160, 4096, 65_536, 70_000, 1 << 20, u32::MAX])
    }

    /// The next request.
    pub(crate) fn ask(&mut self) -> Asked {
        let opcode = match self.random.below(4000) {
            0 => 38,
            1 => 26,
            2..20 => self.random.word(),
            _ => self.random.pick(&OPCODES),
        };
        let (nodeid, mut body) = match opcode {
            26 => {
                let mut init = [7_u32, 38, 65_536, u32::MAX, u32::MAX].map(u32::to_le_bytes).concat();
                init.resize(64, 0);
                (0, init)
            }
            38 => (0, Vec::new()),
            _ => self.body(opcode),
        };
        // Not of those that could ask for a whole disk, if they were changed.
        if !matches!(opcode, 4 | 16 | 43) && self.random.one_in(30) && !body.is_empty() {
            let at = self.random.below(body.len());
            body[at] = self.random.word() as u8;
        }
        if self.random.one_in(40) {
            body.truncate(self.random.below(body.len() + 1));
        }
        if self.random.one_in(100) {
            body.resize(body.len() + self.random.pick(&[1, 8, 100_000]), 0);
        }
        self.sent += 1;
        let mut length = u32::try_from(body.len() + 40).unwrap();
        if self.random.one_in(200) {
            length = self.random.word();
        }
        let mut bytes = Vec::with_capacity(body.len() + 40);
        bytes.extend(length.to_le_bytes());
        bytes.extend(opcode.to_le_bytes());
        bytes.extend(self.sent.to_le_bytes());
        bytes.extend(nodeid.to_le_bytes());
        for word in [self.random.pick(&[0, 0, 1000]), self.random.pick(&[0, 0, 1000]), 1] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(u32::from(self.random.one_in(300)).to_le_bytes());
        bytes.extend(body);
        if self.random.one_in(500) {
            bytes.truncate(self.random.below(bytes.len()));
        }
        Asked { bytes, opcode, unique: self.sent, nodeid }
    }

    /// Learns from a reply.
    pub(crate) fn hear(&mut self, asked: &Asked, reply: &[u8]) {
        let long = |at: usize| reply.get(at..at + 8).map(|long| u64::from_le_bytes(long.try_into().unwrap()));
        let told = matches!(asked.opcode, 1 | 6 | 8 | 9 | 13 | 35).then(|| long(16)).flatten();
        if let Some(node) = told {
            self.nodes.push(node);
        }
        match (asked.opcode, told) {
            (14 | 27, _) => self.handles.extend(long(16).map(|fh| (asked.nodeid, fh))),
            (35, Some(node)) => self.handles.extend(long(144).map(|fh| (node, fh))),
            (2, _) if asked.nodeid != 1 && !self.random.one_in(10) => self.nodes.retain(|node| *node != asked.nodeid),
            (18 | 29, _) if !self.random.one_in(10) => self.handles.retain(|(_, fh)| Some(*fh) != asked.handle()),
            (26 | 38, _) => {
                self.nodes.truncate(1);
                self.handles.clear();
            }
            _ => {}
        }
        if self.nodes.len() > 60 {
            self.nodes.swap_remove(1);
        }
        if self.handles.len() > 40 {
            self.handles.swap_remove(0);
        }
    }
}
