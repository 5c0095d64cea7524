//! One mapper and several threads, in the orders that shuttle chooses.
//!
//! Each scenario runs a thousand times with threads that are picked by chance, and as often with priorities that change a few
//! times; `SCHEDULES=1000000` has it run more often. What shuttle prints of a failure goes into `SCHEDULE`, to play it again.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod book;
mod callbacks;
mod closing;
mod explore;
mod forks;
mod guest;
mod host_window;
mod loans;
mod requests;
mod sys;
