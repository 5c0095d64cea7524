//! The mapper without Python, and its floors, in turn, round by round. Each line of the output is one round: what was
//! measured, then nanoseconds an operation of contender and floor. `python -m benches` makes figures of them.
//!
//! A bare `mmap` has no safe form: its `unsafe` is measured here, and is no part of the crate. Host windows are Linux's.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used
)]

#[cfg(target_os = "linux")]
mod linux;

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
}
