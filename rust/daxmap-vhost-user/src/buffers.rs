//! The buffers of a descriptor chain.

use crate::sys::{self, Way};
use daxmap_virtiofs::GuestSlice;
use std::io;
use virtio_queue::DescriptorChain;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// The buffers of one direction, where the guest says that they are.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Vec<(GuestAddress, usize)>);

impl Buffers {
    fn of(descriptors: impl Iterator<Item = Descriptor>) -> Self {
        Self(descriptors.map(|descriptor| (descriptor.addr(), descriptor.len() as usize)).collect())
    }

    /// Those to read a request from, and those to write its reply to.
    pub(crate) fn of_chain(chain: &DescriptorChain<&GuestMemoryMmap>) -> (Self, Self) {
        (Self::of(chain.clone().readable()), Self::of(chain.clone().writable()))
    }

    /// How many bytes they have.
    pub(crate) fn total(&self) -> usize {
        self.0.iter().fold(0, |sum, (_, length)| sum.saturating_add(*length))
    }

    /// Whether they lie in RAM, of which each region's start and length is given. A page of the window may be lost while
    /// it is read, when its file is made shorter.
    pub(crate) fn in_ram(&self, ram: &[(u64, u64)]) -> bool {
        self.0.iter().all(|(start, length)| {
            let within = |(first, size): &(u64, u64)| {
                let inside = start.0.checked_sub(*first);
                inside.and_then(|inside| size.checked_sub(inside)).is_some_and(|left| *length as u64 <= left)
            };
            ram.iter().any(within)
        })
    }

    /// As slices; `None` where a part is no memory of the guest's.
    pub(crate) fn slices<'a>(&self, memory: &'a GuestMemoryMmap) -> Option<Vec<GuestSlice<'a>>> {
        let mut slices = Vec::with_capacity(self.0.len());
        self.0.iter().all(|(start, length)| sys::buffers(memory, *start, *length, &mut slices)).then_some(slices)
    }

    /// Copies what they hold, at most `limit` bytes.
    pub(crate) fn read(&self, memory: &GuestMemoryMmap, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.total().min(limit)];
        self.each(&mut bytes, |start, part| sys::copy(memory, start, part, Way::FromGuest))?;
        Ok(bytes)
    }

    /// Copies `bytes` to their start, as far as that reaches.
    pub(crate) fn write(&self, memory: &GuestMemoryMmap, bytes: &mut [u8]) -> io::Result<()> {
        self.each(bytes, |start, part| sys::copy(memory, start, part, Way::ToGuest))
    }

    fn each(&self, bytes: &mut [u8], call: impl Fn(GuestAddress, &mut [u8]) -> io::Result<()>) -> io::Result<()> {
        let mut rest = bytes;
        for (start, length) in &self.0 {
            let (now, later) = rest.split_at_mut((*length).min(rest.len()));
            call(*start, now)?;
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    #[test]
    fn ram_is_told_from_the_window() {
        let ram = [(0, 0x1000), (0x10_0000, 0x2000)];
        let within = |start, length| Buffers(vec![(GuestAddress(0), 1), (GuestAddress(start), length)]).in_ram(&ram);
        assert!(within(0xfff, 1) && within(0x10_0000, 0x2000) && within(0x10_1fff, 1) && within(0x10_2000, 0));
        assert!(!within(0xfff, 2) && !within(0x10_2000, 1) && !within(0x8000, 0) && !within(u64::MAX, usize::MAX));
    }

    #[test]
    fn what_is_no_memory_is_an_error() {
        let memory =
            GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000), (GuestAddress(0x1000), 0x1000)]).unwrap();
        let across = Buffers(vec![(GuestAddress(0xff8), 16), (GuestAddress(0), 4)]);
        across.write(&memory, &mut b"0123456789abcdefWXYZ".to_owned()).unwrap();
        assert_eq!(across.read(&memory, 100).unwrap(), b"0123456789abcdefWXYZ");
        assert_eq!(across.read(&memory, 3).unwrap(), b"012");
        assert_eq!(across.slices(&memory).unwrap().len(), 3);
        for (start, length) in [(0x1fff, 2), (0x2000, 1), (u64::MAX, 1), (0, usize::MAX)] {
            let outside = Buffers(vec![(GuestAddress(start), length)]);
            assert!(outside.slices(&memory).is_none(), "{start:#x} {length:#x}");
        }
        let outside = Buffers(vec![(GuestAddress(0x1fff), 2)]);
        assert_eq!(outside.read(&memory, 2).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }

    #[test]
    fn buffers_in_ram_are_their_model() {
        check("buffer_in_ram", |[first, size, start, length]| {
            let buffer = (GuestAddress(start), usize::try_from(length).unwrap());
            [u64::from(Buffers(vec![buffer]).in_ram(&[(first, size)]))]
        });
    }
}
