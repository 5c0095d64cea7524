// What the examples of the documentation share, each of which includes this file: a file of four pages, and a mapper whose
// guest is nobody.

use daxmap_core::{
    Access, FileOffset, GuestAddress, HostSlice, Hypervisor, HypervisorBackend, MapRequest, Mapper, OpenError, Options,
    Refusal, WindowOffset, page_size,
};

/// Lets everything be.
#[derive(Debug)]
struct Nobody;

impl Hypervisor for Nobody {
    fn map(&mut self, _: HostSlice<'_>, _: GuestAddress, _: Access) -> Result<(), Refusal> {
        Ok(())
    }

    fn unmap(&mut self, _: GuestAddress, _: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn protect(&mut self, _: GuestAddress, _: u64, _: Access) -> Option<Result<(), Refusal>> {
        Some(Ok(()))
    }
}

/// Where the guest has its window.
pub const BASE: GuestAddress = GuestAddress(4 << 30);

/// A mapper of a window of 2 MiB.
pub fn mapper() -> Result<Mapper, OpenError> {
    let attach = |window: &_| Ok(Box::new(HypervisorBackend::over(Nobody, window, false)) as _);
    Mapper::new(BASE, 2 << 20, Options::default(), attach)
}

/// An empty file of four pages, open for reading and writing.
pub fn file() -> std::io::Result<std::fs::File> {
    let name = format!("daxmap-{}-{}", std::process::id(), module_path!());
    let path = std::env::temp_dir().join(name);
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(path)?;
    file.set_len(4 * page_size())?;
    Ok(file)
}

/// To show the file's first `length` bytes, for reading, at an offset of the window.
pub fn request(window_offset: u64, length: u64) -> MapRequest {
    MapRequest { file_offset: FileOffset(0), window_offset: WindowOffset(window_offset), length, writable: false }
}
