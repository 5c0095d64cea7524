//! The seeds are what `cargo run --example seeds` writes, and what was found since lies beside them.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use daxmap_fuzz::seeds::{all, path};

#[test]
fn seeds_are_as_they_are_made() {
    for (target, name, content) in all() {
        assert!(std::fs::read(path(target, name)).unwrap() == content, "{target}/{name} is another");
    }
}
