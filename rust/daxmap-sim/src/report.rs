//! What people read: how a seed failed, and what a run of many has seen.

use crate::play::{play, quietly};
use crate::scenario::Scenario;
use crate::shrink::shrink;
use crate::stage::Counts;
use std::fmt::Write;
use std::time::Duration;

/// Plays one seed.
///
/// # Errors
/// What differs, the command that plays it again, and a short list of steps that fails still.
pub fn run(seed: u64) -> Result<Counts, String> {
    let scenario = Scenario::of(seed);
    let played = quietly(|| play(&scenario, false).map_err(|failure| shrink(scenario.clone(), failure)));
    played.map_err(|(shrunk, failure)| {
        let mut text = format!("seed {seed} fails: {}\n\n", failure.what.trim());
        let whole = scenario.steps.len();
        _ = writeln!(text, "again:  cargo run --release -p daxmap-sim -- --seed {seed}\n");
        _ = writeln!(text, "{} of its {whole} steps are enough, and fail so:", shrunk.steps.len());
        for line in &failure.told {
            _ = writeln!(text, "{line}");
        }
        text
    })
}

/// What a run of many seeds has seen.
#[must_use]
pub fn summary(seeds: u64, took: Duration, counts: &Counts) -> String {
    let steps: u64 = counts.iter().filter(|(what, _)| what.starts_with("step ")).map(|(_, times)| times).sum();
    let mut text = String::new();
    for (what, times) in counts {
        _ = writeln!(text, "{times:>12}  {what}");
    }
    let seconds = took.as_secs_f64().max(0.001);
    #[allow(clippy::cast_precision_loss)] // it is for people
    let per_second = seeds as f64 / seconds;
    _ = writeln!(text, "{seeds} seeds, {steps} steps, {seconds:.1} s: {per_second:.0} seeds/s");
    text
}
