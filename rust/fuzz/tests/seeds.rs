//! The seeds are what is made here; what was found since lies beside them.
//!
//! `SEEDS=write make rust-test` makes them anew.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use daxmap_fuzz::seeds::{all, path};
use std::{env, fs};

#[test]
fn seeds_are_as_they_are_made() {
    for (target, name, content) in all() {
        let path = path(target, name);
        if env::var("SEEDS").is_ok_and(|how| how == "write") {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &content).unwrap();
        }
        assert!(fs::read(path).unwrap() == content, "{target}/{name} is another");
    }
}
