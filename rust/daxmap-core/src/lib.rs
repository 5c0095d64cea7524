//! The virtiofs DAX mapper, without Python.
//!
//! A [`Mapper`] keeps the book of what one share's DAX window shows, and a [`Backend`] makes it so for one guest.
//! Requests flow one way: mapper (policy, book) → backend (how a guest is shown memory) → `sys` (the operating
//! system). Only errors come back. [`fuse`] turns a guest's FUSE requests into calls of the mapper. `sys` is the one module with `unsafe` code.
//!
//! ```
//! # #[cfg(target_os = "linux")] {
//! use daxmap_core::{FileOffset, GuestAddress, HostWindowBackend, MapRequest, Mapper, Options, Overlap, WindowOffset};
//! use std::os::fd::AsRawFd;
//!
//! let file = std::fs::File::open(std::env::current_exe()?)?;
//! let window = HostWindowBackend::new()?;
//! let mapper = Mapper::new(GuestAddress(0x1_0000_0000), 2 << 20, Options::default(), |w| window.attach(w))?;
//! let page = mapper.page_size();
//! let request =
//!     MapRequest { file_offset: FileOffset(0), window_offset: WindowOffset(0), length: page, writable: false };
//! mapper.setup(file.as_raw_fd(), &request, Overlap::Refuse)?;
//! assert_eq!(mapper.read(GuestAddress(0x1_0000_0000), 4)?, b"\x7fELF");
//! mapper.remove(WindowOffset(0), page)?;
//! mapper.drain_all()?;
//! window.release()?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs))]

mod addr;
mod backend;
mod book;
mod budget;
mod error;
#[cfg(all(test, target_os = "linux"))]
mod forked;
pub mod fuse;
mod mapper;
mod no_page;
mod open_error;
mod records;
mod refusal;
#[cfg(target_os = "linux")]
mod reopen;
mod stats;
mod sync;
mod sys;
#[cfg(test)]
#[path = "../tests/vectors/mod.rs"]
mod vectors;
mod window;

pub use addr::{DAX_RANGE, FileOffset, GuestAddress, Span, WindowOffset};
pub use backend::{
    Access, Backend, Change, Claim, FRAMEWORK, Failure, Hold, HostMemory, HvfBackend, Hypervisor, HypervisorBackend,
    HypervisorSteps, Pin, Pins, Placement, Steps, Stepwise, View,
};
#[cfg(target_os = "linux")]
pub use backend::{HostWindowBackend, KvmBackend};
pub use book::Mapping;
pub use budget::{Budget, Charge};
pub use error::{Error, Result};
pub use mapper::{BatchResult, Loan, MapRequest, Mapper, Options, Overlap, Piece, Surveyed};
pub use no_page::NoPage;
pub use open_error::OpenError;
pub use records::{LOG_TARGET, Warnings, printable, printable_lines};
pub use refusal::Refusal;
#[cfg(target_os = "linux")]
pub use reopen::reopen;
pub use stats::Stats;
#[cfg(target_os = "linux")]
pub use sys::keep_proc_self;
pub use sys::{Errno, FileId, ForkGuard, HostRange, HostSlice, access_refusal, page_size};
pub use window::Window;

/// The code of README.md runs with the examples, where its backend is.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../README.md")]
struct Readme;
