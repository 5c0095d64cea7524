//! Which pages of this process's memory are in the host's page cache.

use super::{Errno, page_size};

/// For each page of `[address, address + length)`, whether it is resident: `mincore(2)`. `address` is a multiple of the
/// page size. Any range may be asked for; of a file that this process does not own, nor may write, Linux says that all
/// pages are (`can_do_mincore` of mm/mincore.c).
///
/// # Errors
/// ENOMEM where a page of the range is not mapped, or there is no memory for the answer.
pub(crate) fn resident_pages(address: usize, length: u64) -> Result<Vec<bool>, Errno> {
    let no_memory = Errno(libc::ENOMEM);
    let pages = usize::try_from(length.div_ceil(page_size())).map_err(|_| no_memory)?;
    let length = usize::try_from(length).map_err(|_| no_memory)?;
    let mut told: Vec<u8> = Vec::new();
    told.try_reserve_exact(pages).map_err(|_| no_memory)?;
    told.resize(pages, 0);
    // SAFETY: the kernel looks at the addresses, and writes a byte for each of their pages to `told`, which has as many.
    let answer = unsafe { libc::mincore(address as *mut _, length, told.as_mut_ptr().cast()) };
    if answer != 0 {
        return Err(Errno::last());
    }
    Ok(told.into_iter().map(|page| page & 1 != 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::FileRange;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;

    #[test]
    fn what_was_just_written_is_resident_and_what_lies_past_the_end_is_not() {
        let path = std::env::temp_dir().join(format!("daxmap-residency-{}", std::process::id()));
        let page = usize::try_from(page_size()).unwrap();
        fs::write(&path, vec![7; 2 * page]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let range = FileRange { fd: file.as_raw_fd(), offset: 0, length: 4 * page };
        let memory = range.map(true).unwrap();
        let (start, length) = (memory.start(), memory.length() as u64);
        assert_eq!(resident_pages(start, length).unwrap(), [true, true, false, false]);
        assert_eq!(resident_pages(start, 0).unwrap(), []);
        memory.release().unwrap();
        assert_eq!(resident_pages(0, length), Err(Errno(libc::ENOMEM)));
        assert_eq!(resident_pages(start, u64::MAX), Err(Errno(libc::ENOMEM)));
    }
}
