//! The seeds, and what the fuzzer has found: they are tried without the fuzzer, too.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use daxmap_fuzz::TARGETS;
use std::fs;
use std::path::Path;

/// All in one test, since open files are counted for the whole process.
#[test]
fn what_was_found_is_found_no_more() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty());
        for file in files {
            eprintln!("{}", file.display()); // shown if it fails
            target(&fs::read(file).unwrap());
        }
    }
}
