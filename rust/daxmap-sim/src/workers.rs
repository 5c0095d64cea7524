//! Many seeds, by a process for each processor: the budget that is charged is a process's, and one that crashes is no end.

use crate::report::run;
use crate::stage::{Counts, add};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

/// How many seeds one process plays: what machines leave behind that got out of control, as they have to, is not to add up.
const SEEDS_EACH: u64 = 250;

/// The first argument of a process that plays some seeds for another.
pub const WORKER: &str = "--worker";

/// Plays all seeds; what was seen, and how many seeds failed. `fail` is told of each, in full.
///
/// # Panics
/// When no process can be started.
pub fn run_all(seeds: Range<u64>, fail: impl Fn(&str) + Sync) -> (Counts, u64) {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let all = Mutex::new(Counts::new());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(SEEDS_EACH, Relaxed);
                    if first >= seeds.end {
                        break;
                    }
                    let mut part = first..seeds.end.min(first + SEEDS_EACH);
                    while !part.is_empty() {
                        part = run_some(part, &all, &|text| {
                            failed.fetch_add(1, Relaxed);
                            fail(text);
                        });
                    }
                }
            });
        }
    });
    (all.into_inner().unwrap(), failed.into_inner())
}

/// Has another process play some seeds. Those that are left, if it crashed.
fn run_some(seeds: Range<u64>, all: &Mutex<Counts>, fail: &dyn Fn(&str)) -> Range<u64> {
    let program = std::env::current_exe().unwrap();
    let arguments = [WORKER.to_owned(), format!("{}..{}", seeds.start, seeds.end)];
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut at = seeds.start;
    let mut failure = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split_once('\t') {
            Some(("seed", seed)) => at = seed.parse().unwrap(),
            Some(("failure", text)) => failure = failure + text + "\n",
            Some(("end of failure", _)) => fail(&std::mem::take(&mut failure)),
            Some((times, what)) => add(&mut all.lock().unwrap(), what, times.parse().unwrap()),
            None => {}
        }
    }
    let status = child.wait().unwrap();
    if status.success() {
        return seeds.end..seeds.end;
    }
    fail(&format!(
        "seed {at} ends its process: {status}\n\nagain:  cargo run --release -p daxmap-sim -- --seed {at}\n"
    ));
    at + 1..seeds.end
}

/// Plays seeds for another process, which reads a line for each thing to say.
pub fn work(seeds: Range<u64>, mut say: impl FnMut(String)) {
    let mut all = Counts::new();
    for seed in seeds {
        say(format!("seed\t{seed}"));
        match run(seed) {
            Ok(counts) => counts.iter().for_each(|(what, times)| add(&mut all, what, *times)),
            Err(text) => {
                text.lines().for_each(|line| say(format!("failure\t{line}")));
                say("end of failure\t".to_owned());
            }
        }
    }
    for (what, times) in all {
        say(format!("{times}\t{what}"));
    }
}
