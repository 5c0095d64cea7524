//! Some hundred seeds, in a process that has one thread: what is charged to the budget is counted for all of it, and only
//! such a process can get the right to mount. So it does without a test harness.
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout)]

#[cfg(target_os = "linux")]
use daxmap_sim::{prepare_second_device, run};
#[cfg(target_os = "linux")]
use std::collections::BTreeMap;

#[cfg(target_os = "linux")]
const SEEDS: u64 = 300;

/// What comes where there is a second device.
#[cfg(target_os = "linux")]
const TWINS: &str = "files of two devices with the same number";

/// What has to come in that many seeds: else the simulation has lost sight of it.
#[cfg(target_os = "linux")]
const SEEN: [&str; 16] = [
    "SetupMapping: done",
    "SetupMapping: errno 5",
    "SetupMapping: errno 28",
    "RemoveMapping: errno 5",
    "a hypervisor's call failed",
    "a list of removals stopped",
    "a load faulted",
    "a range was reclaimed",
    "a store faulted",
    "mappings leaked",
    "mappings lost",
    "mappings split",
    "mappings upgraded",
    "mmap failed",
    "mmap failed and left a gap",
    "the window got out of control",
];

#[cfg(target_os = "linux")]
fn main() {
    let second_device = prepare_second_device();
    let play = |seed| run(seed).unwrap_or_else(|failure| panic!("{failure}"));
    let mut all = BTreeMap::new();
    for seed in 0..SEEDS {
        let counts = play(seed);
        if seed.is_multiple_of(30) {
            assert_eq!(counts, play(seed), "seed {seed} did something else the second time");
        }
        for (what, times) in counts {
            *all.entry(what).or_insert(0) += times;
        }
    }
    for what in SEEN.into_iter().chain(second_device.is_ok().then_some(TWINS)) {
        assert!(all.contains_key(what), "never in {SEEDS} seeds: {what}; seen: {all:#?}");
    }
    match second_device {
        Ok(()) => println!("{SEEDS} seeds of the simulation, each the same when it was played again: ok"),
        Err(why) => println!("\nSKIP: {SEEDS} seeds of the simulation, all with files of one device: {why}\n"),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}
