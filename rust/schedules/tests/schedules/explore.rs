//! Has shuttle run a scenario in many schedules.

use daxmap_core::Mapper;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, MaxSteps, Runner};
use std::env;
use std::sync::{Arc, Mutex, PoisonError};

/// How often the priorities of threads change: nearly all faults of locking show with three changes.
const CHANGES: usize = 3;

/// The budget is the process's, and one scenario forks.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs `scenario` in many schedules, or in the one that is in the environment.
pub(crate) fn explore(scenario: fn()) {
    explore_under(scenario, |scheduler| scheduler);
}

/// The same, with a scheduler that may have a say.
pub(crate) fn explore_under<S: Scheduler + 'static>(scenario: fn(), of: impl Fn(Box<dyn Scheduler + Send>) -> S) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let schedulers: Vec<Box<dyn Scheduler + Send>> = if let Ok(schedule) = env::var("SCHEDULE") {
        vec![Box::new(ReplayScheduler::new_from_encoded(&schedule))]
    } else {
        let number = env::var("SCHEDULES").map_or(1000, |number| number.parse().expect("SCHEDULES is a number"));
        let seed = env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
        vec![
            Box::new(RandomScheduler::new_from_seed(seed, number)),
            Box::new(PctScheduler::new_from_seed(seed, CHANGES, number)),
        ]
    };
    for scheduler in schedulers {
        let mut config = Config::new();
        config.stack_size = 256 << 10;
        config.max_steps = MaxSteps::FailAfter(100_000);
        Runner::new(of(scheduler), config).run(scenario);
    }
}

/// Starts threads that all do the same with a mapper.
pub(crate) fn start(number: usize, mapper: &Arc<Mapper>, work: fn(&Mapper)) -> Vec<JoinHandle<()>> {
    let one = |_| {
        let mapper = Arc::clone(mapper);
        thread::spawn(move || work(&mapper))
    };
    (0..number).map(one).collect()
}

/// Waits for all of them; where one has panicked, so does this.
pub(crate) fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
