//! Writes the seeds: what the fuzzer starts from.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use daxmap_fuzz::seeds::{all, path};
use std::fs;

fn main() {
    for (target, name, content) in all() {
        let path = path(target, name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}
