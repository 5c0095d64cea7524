//! The requests of a guest.

use super::{Guest, RANGE};

/// What the guest is told: the reply's body, or an errno.
pub(crate) type Answer = Result<Vec<u8>, i32>;

pub(crate) fn words<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.map(u64::to_le_bytes).concat()
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

impl Guest {
    pub(crate) fn message(&self, opcode: u32, inode: u64, body: &[u8]) -> Vec<u8> {
        let unique = self.unique.replace_with(|unique| *unique + 1);
        let length = u32::try_from(40 + body.len()).unwrap();
        let mut message = [length.to_le_bytes(), opcode.to_le_bytes()].concat();
        message.extend(words([unique, inode, 0, 0]));
        message.extend(body);
        message
    }

    pub(crate) fn call(&self, opcode: u32, inode: u64, body: &[u8]) -> Answer {
        let message = self.message(opcode, inode, body);
        let mut driver = self.driver.borrow_mut();
        driver.send(&message, 1 << 20);
        let reply = driver.reply();
        assert_eq!(u32::from_le_bytes(reply[..4].try_into().unwrap()) as usize, reply.len());
        assert_eq!(reply[8..16], message[8..16], "unique");
        match i32::from_le_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(reply[16..].to_vec()),
            error => Err(-error),
        }
    }

    /// Whether DAX was offered: `FUSE_MAP_ALIGNMENT`.
    pub(crate) fn init(&self) -> bool {
        let flags = 1_u32 << 26 | 1 << 30;
        let mut body = [7_u32, 41, 1 << 20, flags, 2].map(u32::to_le_bytes).concat();
        body.resize(64, 0);
        let reply = self.call(26, 0, &body).unwrap();
        u32::from_le_bytes(reply[12..16].try_into().unwrap()) & 1 << 26 != 0
    }

    pub(crate) fn lookup(&self, name: &str) -> u64 {
        word(&self.call(1, 1, &[name.as_bytes(), b"\0"].concat()).unwrap(), 0)
    }

    pub(crate) fn open(&self, inode: u64, flags: i32) -> u64 {
        word(&self.call(14, inode, &words([u64::try_from(flags).unwrap()])).unwrap(), 0)
    }

    pub(crate) fn write(&self, inode: u64, handle: u64, offset: u64, bytes: &[u8]) -> Answer {
        let mut body = words([handle, offset, bytes.len() as u64, 0, 0]);
        body.extend(bytes);
        self.call(16, inode, &body)
    }

    pub(crate) fn read(&self, inode: u64, handle: u64, offset: u64, length: u64) -> Answer {
        self.call(15, inode, &words([handle, offset, length, 0, 0]))
    }

    pub(crate) fn flush(&self, inode: u64, handle: u64) {
        self.call(25, inode, &words([handle, 0, 0])).unwrap();
    }

    pub(crate) fn truncate(&self, inode: u64, size: u64) {
        let mut body = words([1 << 3, 0, size]);
        body.resize(88, 0);
        self.call(4, inode, &body).unwrap();
    }

    /// Maps the range of a file that has this number to that range of the window.
    pub(crate) fn map(&self, inode: u64, file_range: u64, window_range: u64, writable: bool) -> Answer {
        self.map_at(inode, file_range * RANGE, RANGE, window_range * RANGE, writable)
    }

    pub(crate) fn map_at(&self, inode: u64, file: u64, length: u64, window: u64, writable: bool) -> Answer {
        let flags = if writable { 3 } else { 2 };
        self.call(48, inode, &words([u64::MAX, file, length, flags, window]))
    }

    pub(crate) fn unmap(&self, window_range: u64) -> Answer {
        let mut body = 1_u32.to_le_bytes().to_vec();
        body.extend(words([window_range * RANGE, RANGE]));
        self.call(49, 0, &body)
    }
}
