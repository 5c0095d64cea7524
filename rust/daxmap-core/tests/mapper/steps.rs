//! What a guest that takes one range at a time need not say.

use crate::fixture::Numbered;
use daxmap_core::{
    Backend, Change, Errno, FileId, FileOffset, Pin, Pins, Placement, Refusal, Span, Steps, Stepwise, View,
    WindowOffset, page_size,
};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// A guest in another process.
#[derive(Debug, Default)]
struct Elsewhere(Pins);

impl Steps for Elsewhere {
    type Source = Pin;

    fn vmas_per_mapping(&self) -> u64 {
        5
    }

    fn open(&mut self, placement: &Placement) -> Result<(Arc<Pin>, u64), Errno> {
        Ok((self.0.pin(placement)?, placement.file_offset.0))
    }

    fn map(&mut self, _: &View<Pin>, _: Option<&Placement>) -> Result<(), Refusal> {
        Ok(())
    }

    fn unmap(&mut self, _: Span) -> Result<(), Refusal> {
        Ok(())
    }

    fn protect(&mut self, _: &mut View<Pin>, _: &Placement) -> Option<Result<(), Refusal>> {
        None
    }

    fn unprotect(&mut self, _: &View<Pin>) -> Result<(), Refusal> {
        unreachable!("there is no protect")
    }

    fn close(&mut self, pin: Pin) -> Result<(), Errno> {
        self.0.unpin(pin);
        Ok(())
    }
}

#[test]
fn its_memory_is_not_this_processs() {
    let mut backend = Stepwise::new(Elsewhere::default());
    let (file, page) = (Numbered::new(page_size()), page_size());
    let (span, fd) = (Span::new(WindowOffset(page), page).unwrap(), file.file.as_raw_fd());
    let (file_id, file_offset) = (FileId { dev: 1, ino: 2 }, FileOffset(0));
    let new = Placement { span, fd, file: file_id, file_offset, writable: true, prefault: false };
    backend.change(&Change { span, old: &[], new: Some(&new) }, &mut Vec::new()).unwrap();
    assert_eq!(backend.vmas_per_mapping(), 5);
    for (offset, errno) in [(page - 1, libc::EFAULT), (page, libc::ENOTSUP), (2 * page, libc::EFAULT)] {
        let (offset, refused) = (WindowOffset(offset), Err(Errno(errno)));
        assert_eq!((backend.read(offset, &mut [0]), backend.write(offset, &[0])), (refused, refused));
        assert_eq!(backend.host_address_at(offset), None);
        assert_eq!((backend.read(offset, &mut []), backend.write(offset, &[])), (Ok(()), Ok(())));
    }
    assert!(backend.hold(span).is_none());
}
