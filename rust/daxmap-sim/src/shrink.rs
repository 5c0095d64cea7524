//! Finds a short list of steps that fails still.

use crate::play::{Failure, play};
use crate::scenario::{Scenario, Step};

/// The scenario without whatever can be left out, and how it fails then (delta debugging, Zeller and Hildebrandt, simplified).
pub(crate) fn shrink(scenario: Scenario, failure: Failure) -> (Scenario, Failure) {
    let mut shrunk = Shrunk { place: failure.place().to_owned(), scenario, failure };
    let whole = shrunk.scenario.clone();
    if !shrunk.try_instead(whole) {
        shrunk.failure.told.push("The second time it did not fail so.".to_owned());
        return (shrunk.scenario, shrunk.failure);
    }
    shrunk.leave_out_steps();
    shrunk.let_calls_succeed();
    shrunk.leave_out_machines();
    (shrunk.scenario, shrunk.failure)
}

/// What fails, as short as it is known.
struct Shrunk {
    scenario: Scenario,
    failure: Failure,
    /// Where it fails: another failure is another story.
    place: String,
}

impl Shrunk {
    /// Takes another scenario, if that fails at the same place; without the steps after it.
    fn try_instead(&mut self, mut scenario: Scenario) -> bool {
        match play(&scenario, true) {
            Err(failure) if failure.place() == self.place => {
                scenario.steps.truncate(failure.step + 1);
                (self.scenario, self.failure) = (scenario, failure);
                true
            }
            _ => false,
        }
    }

    fn try_steps(&mut self, change: impl FnOnce(&mut Vec<Step>)) -> bool {
        let mut other = self.scenario.clone();
        change(&mut other.steps);
        self.try_instead(other)
    }

    /// Leaves out as many as can be in a row, then fewer and fewer.
    fn leave_out_steps(&mut self) {
        let mut length = self.scenario.steps.len();
        loop {
            let mut is_shorter = false;
            let mut start = 0;
            while start < self.scenario.steps.len() {
                let end = (start + length).min(self.scenario.steps.len());
                if self.try_steps(|steps| _ = steps.drain(start..end)) {
                    is_shorter = true;
                } else {
                    start = end;
                }
            }
            if length <= 1 && !is_shorter {
                break;
            }
            length = (length / 2).max(1);
        }
    }

    fn let_calls_succeed(&mut self) {
        for index in 0..self.scenario.steps.len() {
            self.try_steps(|steps| {
                if let Some(step) = steps.get_mut(index) {
                    step.fails = false;
                }
            });
        }
    }

    fn leave_out_machines(&mut self) {
        for machine in (0..self.scenario.machines.len()).rev() {
            let is_used = |step: &Step| step.machine == machine && !step.is_the_hosts();
            if !self.scenario.steps.iter().any(is_used) {
                let mut other = self.scenario.clone();
                other.machines.remove(machine);
                other.steps.iter_mut().for_each(|step| step.machine -= usize::from(step.machine > machine));
                self.try_instead(other);
            }
        }
    }
}
