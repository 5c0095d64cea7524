//! Every call of a mapper that is refused as a whole where none may be made: in a forked child, in a callback of its own. Its parent
//! module has the core's names in scope, from wherever the core is.

use super::{Error, FileOffset, MapRequest, Mapper, Overlap, WindowOffset};
use std::os::fd::RawFd;

/// What comes of each, for the first page of the window; `fd` is of a regular file.
pub(crate) fn every_call(mapper: &Mapper, fd: RawFd) -> [Result<(), Error>; 17] {
    let (start, base, length) = (WindowOffset(0), mapper.window().base(), mapper.page_size());
    let request = MapRequest { file_offset: FileOffset(0), window_offset: start, length, writable: false };
    let page = [(start, length)];
    [
        mapper.setup(fd, &request, Overlap::Replace),
        mapper.map_file(fd, start, false, Overlap::Replace).map(drop),
        mapper.remove(start, length),
        mapper.remove_range(start, length),
        mapper.remove_batch(&page).map(drop),
        mapper.remove_ranges(&page),
        mapper.remove_all(),
        mapper.refresh(fd).map(drop),
        mapper.reset(),
        mapper.drain_all(),
        mapper.read(base, 1).map(drop),
        mapper.write(base, b"x"),
        mapper.resolve(base, 1, false).map(drop),
        mapper.mappings().map(drop),
        mapper.lookup(start).map(drop),
        mapper.survey().map(drop),
        mapper.explain(base).map(drop),
    ]
}
