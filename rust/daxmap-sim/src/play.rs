//! Plays a scenario, and says where it fails.

use crate::faults;
use crate::guest::Guest;
use crate::host;
use crate::model::guest::Fault;
use crate::rng::Rng;
use crate::scenario::{Action, Scenario, Step};
use crate::stage::{Counts, Stage};
use crate::sys::failing::Plan;
use daxmap_core::Budget;
use std::cell::RefCell;
use std::iter::repeat_n;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// More calls than a hypervisor gets at a power-off.
const ALL_CALLS: usize = 10_000;
/// Where nobody looks closely, this process's memory is looked at after one step in so many.
const LOOK_ONE_IN: u64 = 16;

/// What differs from what should be, and where.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The step, or their number where it is found at the end.
    pub(crate) step: usize,
    pub(crate) what: String,
    /// All that happened until then.
    pub(crate) told: Vec<String>,
}

impl Failure {
    /// The check that failed: its place in the source, which a panic says first.
    pub(crate) fn place(&self) -> &str {
        self.what.lines().next().unwrap_or_default()
    }
}

/// All machines, and what they share.
struct World {
    stage: Stage,
    guests: Vec<Guest>,
    /// What machines that are off have left charged.
    left_charged: u64,
    budget: u64,
    looks_closely: bool,
}

/// Plays it; how often each thing came. `tells` is whether a failure comes with the whole story.
pub(crate) fn play(scenario: &Scenario, tells: bool) -> Result<Counts, Failure> {
    let mut at = 0;
    let mut world = None;
    let played = catch_unwind(AssertUnwindSafe(|| {
        let world = world.insert(World::new(scenario, tells));
        for step in &scenario.steps {
            world.make(step);
            at += 1;
        }
        world.end()
    }));
    let told = world.as_mut().map(|world| std::mem::take(&mut world.stage.told)).unwrap_or_default();
    // What is wrong already may be wrong once more as it is dropped.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(world)));
    match (played, dropped) {
        (Ok(counts), Ok(())) => Ok(counts),
        _ => Err(Failure { step: at, what: FIRST.take(), told }),
    }
}

thread_local! {
    /// What the first of this thread's panics said since this was taken.
    static FIRST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Makes a call whose panics are not printed: a scenario that fails is played many times.
pub(crate) fn quietly<T>(call: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
        FIRST.with_borrow_mut(|first| {
            if first.is_empty() {
                *first = panic.to_string();
            }
        });
    }));
    let answer = call();
    std::panic::set_hook(hook);
    answer
}

impl World {
    fn new(scenario: &Scenario, tells: bool) -> Self {
        let budget = Budget::of_process().used();
        let mut stage = Stage::new(scenario.two_devices, tells);
        let guests = (0..).zip(&scenario.machines).map(|(number, kind)| {
            stage.tell(|| format!("machine {number}: {kind:?}"));
            Guest::new(number, *kind, &mut stage)
        });
        let guests = guests.collect();
        Self { stage, guests, left_charged: 0, budget, looks_closely: scenario.looks_closely }
    }

    fn make(&mut self, step: &Step) {
        let mut rng = Rng::new(step.salt);
        self.stage.count(&format!("step {:?}", step.action), 1);
        self.stage.tell(|| format!("  {}", step.told()));
        if step.is_the_hosts() {
            let did = host::act(&mut self.stage.disk, step.action, &mut rng);
            self.stage.tell(|| format!("    it {did}"));
        } else {
            self.make_in_guest(step, &mut rng);
        }
        self.check(&mut rng);
    }

    fn make_in_guest(&mut self, step: &Step, rng: &mut Rng) {
        let guest = &mut self.guests[step.machine];
        if step.fails {
            self.stage.plan = faults::of_system_calls(rng);
            guest.machine.plan(faults::of_hypervisor(rng));
        }
        if guest.ranges.reclaim_is_due && rng.one_in(2) {
            guest.reclaim(&mut self.stage);
        }
        match step.action {
            Action::MapAnything | Action::RemoveAnything | Action::Malformed => {
                guest.attack(&mut self.stage, step.action, rng);
            }
            Action::Reclaim => guest.reclaim(&mut self.stage),
            Action::Remount => guest.remount(&mut self.stage),
            Action::Reboot => guest.mount(&mut self.stage),
            Action::PowerOff => self.power_cycle(step.machine, step.fails && rng.one_in(2)),
            _ => guest.act(&mut self.stage, step.action, rng),
        }
        self.stage.plan = Plan::default();
        self.guests[step.machine].machine.plan([]);
    }

    /// Powers a machine off and on. `is_gone` is whether its hypervisor answers no more.
    fn power_cycle(&mut self, number: usize, is_gone: bool) {
        let kind = self.guests[number].machine.kind;
        if is_gone {
            self.guests[number].machine.plan(repeat_n(Fault::Refused, ALL_CALLS));
        }
        let next = Guest::new(number, kind, &mut self.stage);
        let before = std::mem::replace(&mut self.guests[number], next);
        self.left_charged += before.machine.power_off(&mut self.stage);
    }

    fn check(&mut self, rng: &mut Rng) {
        for guest in &self.guests {
            guest.check_inodes(&self.stage);
            guest.machine.check_words(&self.stage, rng);
            if self.looks_closely || rng.one_in(LOOK_ONE_IN) {
                guest.machine.look();
            }
        }
    }

    fn end(&mut self) -> Counts {
        self.stage.disk.check();
        for guest in std::mem::take(&mut self.guests) {
            guest.machine.look();
            self.left_charged += guest.machine.power_off(&mut self.stage);
        }
        self.stage.disk.check_descriptors();
        let has_twins = self.stage.disk.has_twins();
        self.stage.count("files of two devices with the same number", u64::from(has_twins));
        let charged = Budget::of_process().used() - self.budget;
        assert_eq!(charged, self.left_charged, "charged when all machines are off");
        std::mem::take(&mut self.stage.counts)
    }
}
