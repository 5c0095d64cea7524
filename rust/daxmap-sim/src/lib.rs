//! A simulation of everything around daxmap, from one number: Linux guests and hostile ones, their processes, the host's
//! programs, a host that fails, machines that are switched off. daxmap itself is the real one, file server, mapper, window
//! and all, over real files and real memory.
//!
//! A seed stands for machines and steps, all made up beforehand. There is one thread, no clock, no address that decides
//! anything: the same seed does the same on every machine, so whatever fails can be played again, step by step.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

mod check;
mod directories;
mod disk;
mod faults;
mod guest;
mod host;
mod hostile;
mod kernel;
mod layers;
mod machine;
mod model;
mod play;
mod processes;
mod report;
mod rng;
mod scenario;
mod shrink;
mod stage;
mod sys;
mod verdict;
mod wire;
mod workers;

pub use layers::prepare_second_device;
pub use report::{run, summary};
pub use workers::{WORKER, run_all, work};
