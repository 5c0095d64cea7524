//! What daxmap's fuzzer tries: each function takes any bytes, and panics where daxmap does what it should not.
//!
//! `make fuzz` has libFuzzer look for bytes that reach code which none has reached before. The tests of this crate call the
//! same functions with the seeds, which takes no fuzzer.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![allow(clippy::missing_panics_doc)] // what panics here is a finding

mod decode;
mod negotiate;
mod requests;
pub mod seeds;
mod server;
mod uapi;
mod wire;

pub use decode::decode;
pub use negotiate::negotiate;
pub use requests::requests;
pub use server::server;

/// Tries any bytes.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 4] =
    [("decode", decode), ("negotiate", negotiate), ("requests", requests), ("server", server)];
