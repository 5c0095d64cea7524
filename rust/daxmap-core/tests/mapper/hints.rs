//! What an error tells beside its values: what to do, and what lies behind it.

use daxmap_core::{Errno, Error, GuestAddress, NoPage, OpenError, Refusal, Span, WindowOffset};
use std::error::Error as _;

const BASE: GuestAddress = GuestAddress(0x10_0000);
const SIZE: u64 = 0x4000;

#[test]
fn a_misaligned_value_has_its_neighbours_told() {
    let hint = |value: u64| {
        let text = Error::Misaligned { name: "length", value, page_size: 4096 }.to_string();
        assert!(
            text.starts_with(&format!("length {value} ({value:#x}) is not a multiple of the host's page size 4096"))
        );
        text.rsplit_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(hint(4097), "4096 (0x1000) and 8192 (0x2000) are");
    assert_eq!(hint(1), "4096 (0x1000) is");
    assert_eq!(hint(u64::MAX), "18446744073709547520 (0xfffffffffffff000) is");
}

#[test]
fn a_guest_address_given_for_a_window_offset_is_recognized() {
    let hint = |offset: u64, length: u64| {
        let text = Error::OutsideWindow { offset: WindowOffset(offset), length, base: BASE, size: SIZE }.to_string();
        text.split_once("leaves the window of 0x4000 bytes").unwrap().1.to_owned()
    };
    let wanted = ": window offsets are wanted, not guest addresses; ";
    assert_eq!(hint(BASE.0, 0x1000), format!("{wanted}0x100000 is offset 0x0"));
    assert_eq!(hint(BASE.0 + SIZE - 0x1000, 0x2000), format!("{wanted}0x103000 is offset 0x3000"));
    assert_eq!(hint(BASE.0 + SIZE, 0x1000), "");
    assert_eq!(hint(BASE.0 - 0x1000, 0x1000), "");
    assert_eq!(hint(0, SIZE + 0x1000), ": make the window larger");
    assert_eq!(hint(0x1000, SIZE), "");
    let low = Error::OutsideWindow { offset: WindowOffset(0x3000), length: 0x2000, base: GuestAddress(0), size: SIZE };
    assert!(low.to_string().ends_with(" bytes"), "an offset in the window is none: {low}");
}

#[test]
fn a_window_offset_given_for_a_guest_address_is_recognized() {
    let hint = |address: u64, length: u64| {
        let text = Error::AccessOutside { address: GuestAddress(address), length, base: BASE, size: SIZE }.to_string();
        text.split_once("is not in the window, [0x100000, +0x4000)").unwrap().1.to_owned()
    };
    let wanted = ": guest addresses are wanted, not window offsets; that offset is at ";
    assert_eq!(hint(0x1000, 0x3000), format!("{wanted}0x101000"));
    assert_eq!(hint(0x1000, 0x3001), "");
    assert_eq!(hint(BASE.0 - 1, 2), "");
}

#[test]
fn what_lies_behind_an_error_is_its_source() {
    let (span, cause) = (Span::new(WindowOffset(0), 4096).unwrap(), Refusal::io("the hypervisor said 7"));
    let (fd, remedy) = (5, None);
    for error in [
        Error::MapFailed { span, fd, remedy, cause: cause.clone() },
        Error::UnmapRefused { span, cause: cause.clone() },
        Error::Unknown { span, cause: cause.clone() },
        Error::Unsettled { span, cause: cause.clone() },
        Error::Lost { span, cause: cause.clone() },
        Error::OutOfControl { span, cause: cause.clone() },
    ] {
        assert_eq!(error.source().unwrap().to_string(), "the hypervisor said 7", "{error}");
        assert!(error.to_string().ends_with("the hypervisor said 7"), "{error}");
    }
    let of_host = Error::UnmapRefused { span, cause: Errno(libc::ENOMEM).into() };
    assert!(of_host.source().is_none() && Error::Closed.source().is_none());
}

#[test]
fn other_texts() {
    let refused = |remedy| OpenError::Refused { what: "reserving".to_owned(), errno: Errno(libc::ENOMEM), remedy };
    let host = Errno(libc::ENOMEM).to_string();
    assert_eq!(refused(None).to_string(), format!("reserving: {host}"));
    assert_eq!(refused(Some("take less".to_owned())).to_string(), format!("reserving: {host}: take less"));
    assert_eq!(OpenError::Invalid("base".to_owned()).to_string(), "base");
    let cut = NoPage::PastEnd { length: 9 }.to_string();
    assert_eq!(cut, "it lies past the end of its file, which has 9 bytes");
    let supplied = NoPage::NotSupplied.to_string();
    assert!(NoPage::Unknown.to_string().contains(&supplied), "{supplied}");
}
