//! What a seed stands for: machines, and steps. All of it is made up before anything runs, so that steps can be left out.

use crate::rng::Rng;
use daxmap_core::fuse::Policy;
use daxmap_virtiofs::Cache;
use std::iter::repeat_n;

/// Where a machine's guest sees its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// Host addresses under a memory slot.
    HostWindow,
    /// A hypervisor that is told of each mapping, and whose calls may fail.
    Hypervisor { strict: bool, can_protect: bool },
    /// A VMM that maps files by itself, from descriptors, and whose calls may fail.
    Descriptors { strict: bool, can_protect: bool },
}

/// How a guest's kernel unmounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmount {
    /// All inodes are evicted, and their mappings removed, before DESTROY: Linux 6.
    Removes,
    /// DESTROY, with mappings live: Linux 7.
    Destroys,
}

/// One machine: a VMM, its file server, and the guest in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineKind {
    pub(crate) through: Through,
    /// The window's size in ranges of 2 MiB.
    pub(crate) ranges: u64,
    pub(crate) max_mappings: Option<u64>,
    pub(crate) readonly: bool,
    pub(crate) prefault: bool,
    pub(crate) dax: Policy,
    pub(crate) cache: Cache,
    pub(crate) max_open: u64,
    pub(crate) unmount: Unmount,
    /// The most entries of one REMOVEMAPPING: a guest page full, which is 256, or few, so that lists have several.
    pub(crate) most_removals: usize,
    /// Whether its kernel sends what no Linux would.
    pub(crate) hostile: bool,
}

/// What happens. Which file, offset or range it is about is made up from the step's salt, when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    LookUp,
    Create,
    Open,
    Close,
    Read,
    Write,
    Load,
    Store,
    Truncate,
    Allocate,
    Unlink,
    Rename,
    Link,
    Stat,
    Evict,
    List,
    Reclaim,
    Remount,
    Reboot,
    PowerOff,
    MapAnything,
    RemoveAnything,
    Malformed,
    HostWrites,
    HostTruncates,
    HostCreates,
    HostUnlinks,
    HostRenames,
}

const OF_PROCESSES: [(u64, Action); 20] = [
    (6, Action::LookUp),
    (5, Action::Create),
    (8, Action::Open),
    (3, Action::Close),
    (8, Action::Read),
    (8, Action::Write),
    (16, Action::Load),
    (14, Action::Store),
    (4, Action::Truncate),
    (2, Action::Allocate),
    (3, Action::Unlink),
    (3, Action::Rename),
    (2, Action::Link),
    (3, Action::Stat),
    (3, Action::Evict),
    (3, Action::List),
    (2, Action::Reclaim),
    (1, Action::Remount),
    (1, Action::Reboot),
    (1, Action::PowerOff),
];
const OF_HOSTILE: [(u64, Action); 3] =
    [(30, Action::MapAnything), (15, Action::RemoveAnything), (2, Action::Malformed)];
const OF_HOST: [(u64, Action); 5] = [
    (4, Action::HostWrites),
    (4, Action::HostTruncates),
    (2, Action::HostCreates),
    (2, Action::HostUnlinks),
    (3, Action::HostRenames),
];

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) machine: usize,
    pub(crate) action: Action,
    pub(crate) salt: u64,
    /// Whether calls fail while it is made.
    pub(crate) fails: bool,
}

impl Step {
    /// Who does what, in a story.
    pub(crate) fn told(&self) -> String {
        let fails = if self.fails { ", while calls fail" } else { "" };
        if self.is_the_hosts() {
            format!("the host: {:?}", self.action)
        } else {
            format!("machine {}: {:?}{fails}", self.machine, self.action)
        }
    }

    /// Whether the host does it: then its machine means nothing.
    pub(crate) fn is_the_hosts(&self) -> bool {
        OF_HOST.iter().any(|(_, action)| *action == self.action)
    }
}

/// What a seed stands for.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Whether files of two devices lie in the share: it takes a mount for each scenario.
    pub(crate) two_devices: bool,
    pub(crate) machines: Vec<MachineKind>,
    pub(crate) steps: Vec<Step>,
    /// Whether this process's memory is looked at after each step, and not only now and then: it takes most of the time.
    pub(crate) looks_closely: bool,
}

impl Scenario {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let two_devices = rng.one_in(3);
        let machines: Vec<_> = (0..rng.pick(&[1, 1, 2, 3])).map(|_| machine(&mut rng)).collect();
        let fails_one_in = rng.pick(&[0, 0, 20, 5, 2]);
        let host_one_in = rng.pick(&[0, 20, 6]);
        let length = rng.pick(&[10, 30, 60, 120]);
        let others: Vec<_> = (0..length)
            .map(|_| {
                let machine = rng.index(machines.len());
                let action = match () {
                    () if rng.one_in(host_one_in) => rng.weighted(&OF_HOST),
                    () if machines[machine].hostile && rng.one_in(2) => rng.weighted(&OF_HOSTILE),
                    () => rng.weighted(&OF_PROCESSES),
                };
                (machine, action, rng.one_in(fails_one_in))
            })
            .collect();
        let steps = first_steps(machines.len()).into_iter().chain(others);
        let steps = steps.map(|(machine, action, fails)| Step { machine, action, salt: rng.next(), fails }).collect();
        Self { two_devices, machines, steps, looks_closely: rng.one_in(8) }
    }
}

/// Files for the guests to find, so that most of what follows has something to work on.
fn first_steps(machines: usize) -> Vec<(usize, Action, bool)> {
    let of_guest = || repeat_n(Action::LookUp, 10).chain(repeat_n(Action::Open, 3));
    let of_guests = (0..machines).flat_map(|machine| of_guest().map(move |action| (machine, action, false)));
    repeat_n((0, Action::HostCreates, false), 8).chain(of_guests).collect()
}

fn machine(rng: &mut Rng) -> MachineKind {
    let (strict, can_protect) = (rng.one_in(2), rng.one_in(2));
    let ways = [
        (4, Through::HostWindow),
        (1, Through::Hypervisor { strict, can_protect }),
        (1, Through::Descriptors { strict, can_protect }),
    ];
    MachineKind {
        through: rng.weighted(&ways),
        ranges: rng.pick(&[2, 3, 5, 8, 12]),
        max_mappings: rng.one_in(5).then(|| 1 + rng.below(6)),
        readonly: rng.one_in(12),
        prefault: rng.one_in(12),
        dax: if rng.one_in(4) { Policy::Inode { min_size: 1 << 20 } } else { Policy::Always },
        // Not for a second: what a guest may believe would be a matter of time.
        cache: rng.pick(&[Cache::Never, Cache::Always]),
        max_open: rng.pick(&[64, 256]),
        unmount: rng.pick(&[Unmount::Removes, Unmount::Destroys]),
        most_removals: rng.pick(&[2, 256]),
        hostile: rng.one_in(4),
    }
}
