//! `daxmap-sim --seed 42` plays one seed; `daxmap-sim --seeds 0..100000` plays many, on all processors.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

#[cfg(target_os = "linux")]
const USAGE: &str = "usage: daxmap-sim --seed N | --seeds FIRST..END";

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use daxmap_sim::{WORKER, prepare_second_device, run, run_all, summary, work};
    use std::time::Instant;

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [option, value] = arguments.as_slice() else { return refused() };
    // Not a process that starts others: what it mounts may lie over its own program.
    let second_device = if option == "--seeds" { Ok(()) } else { prepare_second_device() };
    let skipped = second_device.err().map(|why| format!("SKIP: all files are of one device: {why}"));
    let started = Instant::now();
    match (option.as_str(), value.parse::<u64>(), range(value)) {
        ("--seed", Ok(seed), _) => match run(seed) {
            Ok(counts) => {
                print!("{}", summary(1, started.elapsed(), &counts));
                if let Some(skipped) = &skipped {
                    println!("{skipped}");
                }
            }
            Err(text) => {
                print!("{text}");
                return ExitCode::FAILURE;
            }
        },
        ("--seeds", _, Some(seeds)) => {
            let (counts, failed) = run_all(seeds.clone(), |text| println!("{text}"));
            print!("{}", summary(seeds.end.saturating_sub(seeds.start), started.elapsed(), &counts));
            for skipped in counts.keys().filter(|what| what.starts_with("SKIP")) {
                println!("{skipped}");
            }
            if failed > 0 {
                println!("{failed} failed");
                return ExitCode::FAILURE;
            }
        }
        (WORKER, _, Some(seeds)) => {
            if let Some(skipped) = &skipped {
                println!("1\t{skipped}");
            }
            work(seeds, |line| println!("{line}"));
        }
        _ => return refused(),
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("daxmap-sim needs Linux");
    ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
fn range(text: &str) -> Option<std::ops::Range<u64>> {
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

#[cfg(target_os = "linux")]
fn refused() -> ExitCode {
    println!("{USAGE}");
    ExitCode::from(2)
}
