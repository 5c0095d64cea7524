//! A guest that does as bytes say.

use super::window_size;
use crate::wire::{self, with_right_length};
use daxmap_core::{DAX_RANGE, page_size};

/// What a guest asks, or a VMM.
pub(super) enum Asked {
    Message(Vec<u8>),
    /// Of 8 bytes within a page of the window.
    Store {
        window_offset: u64,
        bytes: [u8; 8],
    },
}

/// Makes requests of bytes: mostly such as come near to the ends of ranges, and overlap.
pub(super) struct Guest<'a>(&'a [u8]);

impl<'a> Guest<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn request(&mut self) -> Asked {
        Asked::Message(match self.byte() % 16 {
            0..8 => {
                let nodeid = u64::from(self.byte() % 8 % 5);
                let file_offset = self.file_offset();
                let (window_offset, length) = (self.place(), self.length());
                wire::setup(nodeid, file_offset, length, 2 + u64::from(self.byte() % 2), window_offset)
            }
            8..11 => {
                let ranges = (0..=self.byte() % 4).map(|_| (self.place(), self.length()));
                wire::remove(&ranges.collect::<Vec<_>>())
            }
            11 => wire::remove(&[(0, u64::MAX)]),
            12 => wire::message(wire::INIT, 0, &wire::init(u32::MAX, u32::MAX)),
            13 => wire::message(wire::DESTROY, 0, &[]),
            14 => {
                let length = usize::from(self.byte()).min(self.0.len());
                let (message, rest) = self.0.split_at(length);
                self.0 = rest;
                with_right_length(message.to_vec())
            }
            _ => {
                let window_offset =
                    self.place() % window_size() / page_size() * page_size() + u64::from(self.byte()) * 8;
                return Asked::Store { window_offset, bytes: self.long().to_le_bytes() };
            }
        })
    }

    /// A window offset: near the end of a range, or any.
    pub(super) fn place(&mut self) -> u64 {
        match (self.byte(), self.byte()) {
            (255, _) => self.long(),
            (range, page) => {
                (u64::from(range % 3) * DAX_RANGE + u64::from(page % 16) * page_size()).wrapping_sub(4 * page_size())
            }
        }
    }

    fn length(&mut self) -> u64 {
        match self.byte() {
            255 => self.long(),
            pages @ 192.. => DAX_RANGE - 2 * page_size() + u64::from(pages % 8) * page_size(),
            pages => u64::from(pages % 32) * page_size(),
        }
    }

    fn file_offset(&mut self) -> u64 {
        match self.byte() {
            255 => self.long(),
            page => u64::from(page % 8) * page_size(),
        }
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }
}
