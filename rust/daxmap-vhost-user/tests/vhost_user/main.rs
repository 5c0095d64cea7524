//! The device, through real messages of a front end in this process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod front_end;
mod refusals;
mod sessions;
mod window;
