//! Where a DAX window lies in the guest, and what may be asked of it.

use crate::addr::{GuestAddress, Span, WindowOffset};
use crate::error::{Error, Result, misaligned};
use crate::open_error::OpenError;
use crate::sys;

/// The guest-physical range `[base, base + size)` of one share.
///
/// # Examples
/// ```
/// use daxmap_core::{GuestAddress, Window};
///
/// let window = Window::new(GuestAddress(1 << 32), 2 << 20)?;
/// assert_eq!(window.whole().to_string(), "[0x0, 0x200000)");
/// let refused = Window::new(GuestAddress(1), 2 << 20).unwrap_err();
/// assert!(refused.to_string().starts_with("base 1 (0x1) is not a multiple of the host's page size"));
/// # Ok::<(), daxmap_core::OpenError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    base: u64,
    size: u64,
    page_size: u64,
}

impl Window {
    /// A window at `base` of `size` bytes, both multiples of the host's page size.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] where a value is not aligned, the size is 0 or the end passes 2**64.
    pub fn new(base: GuestAddress, size: u64) -> std::result::Result<Self, OpenError> {
        Self::of_pages(base, size, sys::page_size())
    }

    fn of_pages(base: GuestAddress, size: u64, page_size: u64) -> std::result::Result<Self, OpenError> {
        for (name, value) in [("base", base.0), ("size", size)] {
            if !value.is_multiple_of(page_size) {
                let mut text = String::new();
                let _ = misaligned(&mut text, name, value, page_size); // a string takes all
                return Err(OpenError::Invalid(text));
            }
        }
        if size == 0 {
            return Err(OpenError::Invalid("size is 0: a window has a page at least".to_owned()));
        }
        if base.0.checked_add(size.wrapping_sub(1)).is_none() {
            return Err(OpenError::Invalid(format!("base {base} + size {size:#x} passes 2**64")));
        }
        Ok(Self { base: base.0, size, page_size })
    }

    /// First guest physical address of the window.
    #[must_use]
    pub fn base(&self) -> GuestAddress {
        GuestAddress(self.base)
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The host's page size in bytes: the unit of every offset and length.
    #[must_use]
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// The whole window as a range of offsets.
    #[must_use]
    pub fn whole(&self) -> Span {
        Span::new(WindowOffset(0), self.size).unwrap_or_else(|| unreachable!("a window is never empty"))
    }

    /// The range a request asks for, checked against page size and window.
    pub(crate) fn request(&self, offset: WindowOffset, length: u64) -> Result<Span> {
        self.check_aligned("window_offset", offset.0)?;
        self.check_aligned("length", length)?;
        if length == 0 {
            return Err(Error::EmptyRange);
        }
        Span::new(offset, length).filter(|span| span.end().0 <= self.size).ok_or(Error::OutsideWindow {
            offset,
            length,
            base: self.base(),
            size: self.size,
        })
    }

    pub(crate) fn check_aligned(&self, name: &'static str, value: u64) -> Result<()> {
        // A page size is a power of two: no division, which is slow.
        if value & self.page_size.wrapping_sub(1) == 0 {
            return Ok(());
        }
        Err(Error::Misaligned { name, value, page_size: self.page_size })
    }

    /// Where the guest finds a byte of the window.
    pub(crate) fn address_of(&self, offset: WindowOffset) -> GuestAddress {
        GuestAddress(self.base.wrapping_add(offset.0)) // `new` made sure that this doesn't wrap
    }

    /// The window offsets of `length` (not 0) bytes at a guest physical address, of any alignment.
    pub(crate) fn span_at(&self, address: GuestAddress, length: u64) -> Option<Span> {
        let offset = WindowOffset(address.0.checked_sub(self.base)?);
        Span::new(offset, length).filter(|span| span.end().0 <= self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    fn window() -> Window {
        Window::new(GuestAddress(0x1000_0000), 0x10_0000).unwrap()
    }

    #[test]
    fn new_refuses_what_no_guest_could_use() {
        for (base, size) in [(0, 0), (1, 0x1000), (0, 0xfff), (!0xfff, 0x2000)] {
            assert!(Window::new(GuestAddress(base), size).is_err(), "{base:#x} {size:#x}");
        }
    }

    #[test]
    fn request_refuses_what_leaves_the_window() {
        let page = window().page_size();
        assert!(window().request(WindowOffset(0), 0x10_0000).is_ok());
        for (offset, length) in
            [(0, 0x10_0000 + page), (0x10_0000, page), (0u64.wrapping_sub(page), 2 * page), (1, page), (0, 1)]
        {
            assert_eq!(window().request(WindowOffset(offset), length).unwrap_err().errno().0, libc::EINVAL);
        }
    }

    #[test]
    fn span_at_knows_the_edges() {
        assert_eq!(window().span_at(GuestAddress(0x0fff_ffff), 1), None);
        assert_eq!(window().span_at(GuestAddress(0x1010_0000), 1), None);
        assert_eq!(window().span_at(GuestAddress(0x100f_ffff), 2), None);
        assert_eq!(window().span_at(GuestAddress(0x100f_ffff), 1), Span::new(WindowOffset(0xf_ffff), 1));
    }

    #[test]
    fn windows_are_their_models() {
        let span = |span: Option<Span>| span.into_iter().flat_map(|span| [span.start().0, span.end().0]);
        check("window_new", |[base, size, page_size]| {
            let window = Window::of_pages(GuestAddress(base), size, page_size).ok();
            window.into_iter().flat_map(|window| [window.base, window.size, window.page_size])
        });
        check("window_request", |[base, size, page_size, offset, length]| {
            span(Window { base, size, page_size }.request(WindowOffset(offset), length).ok())
        });
        check("window_span_at", |[base, size, page_size, address, length]| {
            span(Window { base, size, page_size }.span_at(GuestAddress(address), length))
        });
        check("window_address_of", |[base, size, page_size, offset]| {
            [Window { base, size, page_size }.address_of(WindowOffset(offset)).0]
        });
    }
}
