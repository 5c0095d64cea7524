//! A machine: the file server, the mapper and the window of one guest, all real. Every request passes here, and is held to
//! the model.

use crate::disk::Disk;
use crate::model::cpu::Cpu;
use crate::model::guest::{Fault, Guest as Memory, Origin};
use crate::model::naive::Naive;
use crate::model::own_steps::OwnSteps;
use crate::model::requests::{BASE, Request};
use crate::scenario::{MachineKind, Through};
use crate::stage::Stage;
use crate::sys::failing::{self, Failed};
use crate::sys::memory;
use crate::wire::{Body, Opcode, Reply, request};
use daxmap_core::page_size;
use daxmap_core::{Budget, DAX_RANGE, GuestAddress, HostWindowBackend, HypervisorBackend, Mapper, Options, Stepwise};
use daxmap_virtiofs::{FileServer, Options as ShareOptions, Owner};
use std::sync::Arc;

/// What the guest's memory is.
#[derive(Debug)]
pub(crate) enum Window {
    Host(HostWindowBackend),
    /// By what a hypervisor was told, or the VMM did: page by page.
    Pages(Memory),
}

/// One machine, from power-on to power-off.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) number: usize,
    pub(crate) kind: MachineKind,
    pub(crate) server: FileServer,
    pub(crate) mapper: Arc<Mapper>,
    pub(crate) window: Window,
    pub(crate) naive: Naive,
    unique: u64,
    /// What of the process's budget is charged for this machine.
    pub(crate) charged: u64,
    /// Whether a call ever failed: then mappings may be lost that the guest believes in.
    pub(crate) has_failed: bool,
    /// How its SETUPMAPPINGs fared since the last INIT: those that were granted, and refused.
    pub(crate) outcomes: (u64, u64),
}

impl Machine {
    pub(crate) fn new(number: usize, kind: MachineKind, stage: &mut Stage) -> Self {
        let before = Budget::of_process().used();
        let MachineKind { readonly, max_mappings, prefault, .. } = kind;
        let options = Options { readonly, max_mappings, prefault, ..Options::default() };
        let window = match kind.through {
            Through::HostWindow => Window::Host(HostWindowBackend::new().unwrap()),
            Through::Hypervisor { strict, .. } | Through::Descriptors { strict, .. } => {
                Window::Pages(Memory::new(strict, page_size()))
            }
        };
        let mapper = Mapper::new(GuestAddress(BASE), kind.ranges * DAX_RANGE, options, |of| {
            Ok(match (&window, kind.through) {
                (Window::Host(window), _) => window.attach(of)?,
                (Window::Pages(guest), Through::Descriptors { can_protect, .. }) => {
                    Box::new(Stepwise::new(OwnSteps::new(guest.clone(), can_protect)))
                }
                (Window::Pages(guest), through) => {
                    let can_protect = matches!(through, Through::Hypervisor { can_protect: true, .. });
                    let cpu = Cpu { guest: guest.clone(), can_protect };
                    Box::new(HypervisorBackend::over(cpu, of, kind.readonly))
                }
            })
        });
        let mapper = Arc::new(mapper.unwrap());
        let options = ShareOptions {
            readonly: kind.readonly,
            dax: kind.dax,
            owner: Owner::Host,
            cache: kind.cache,
            max_open: Some(kind.max_open),
        };
        let server = FileServer::new(stage.disk.root(), Some(Arc::clone(&mapper)), &options).unwrap();
        let at_once = matches!(window, Window::Host(_));
        let naive = Naive::new(&mapper, Vec::new(), kind.max_mappings, at_once);
        let charged = Budget::of_process().used() - before;
        Self { number, kind, server, mapper, window, naive, unique: 0, charged, has_failed: false, outcomes: (0, 0) }
    }

    /// Sends a request. `means` is what it asks of the mapper, if it asks anything.
    pub(crate) fn ask(
        &mut self,
        stage: &mut Stage,
        opcode: Opcode,
        nodeid: u64,
        body: &Body,
        means: Option<&Request>,
    ) -> Reply {
        self.unique += 2; // FUSE_REQ_ID_STEP of fs/fuse/fuse_dev_i.h
        let bytes = request(opcode, self.unique, nodeid, body);
        let before = self.before();
        let (answer, left, failed) = failing::with(stage.plan, || self.server.answer(&bytes));
        stage.plan = left;
        let reply = Reply::parse(opcode, self.unique, answer);
        stage.tell(|| {
            let asked = means.map_or_else(|| format!("node {nodeid}"), |means| format!("node {nodeid}, {means:x?}"));
            let of_calls =
                if failed == Failed::default() { String::new() } else { format!(", calls failed: {failed:?}") };
            format!("    machine {}: {opcode:?} {asked}: errno {}{of_calls}", self.number, reply.errno)
        });
        let outcome = if reply.errno == 0 { "done".to_owned() } else { format!("errno {}", reply.errno) };
        stage.count(&format!("{opcode:?}: {outcome}"), 1);
        let by_mapper = self.judge(stage, means, &reply, &before, failed);
        self.check_outcomes(opcode, reply.errno == 0);
        Reply { by_mapper, ..reply }
    }

    /// How many inodes the server has, without the share itself.
    pub(crate) fn known_inodes(&self) -> usize {
        self.server.known_inodes()
    }

    /// Has the next calls of its hypervisor come to this.
    pub(crate) fn plan(&mut self, plan: impl IntoIterator<Item = Fault>) {
        if let Window::Pages(memory) = &self.window {
            memory.memory().plan = plan.into_iter().collect();
        }
    }

    /// What backs a byte of the window, and whether the guest may store there.
    fn place(&self, offset: u64) -> Option<(Origin, bool)> {
        match &self.window {
            Window::Host(_) => Some((Origin::Memory(self.mapper.host_address().unwrap() as u64 + offset), true)),
            Window::Pages(guest) => {
                let skipped = offset % page_size();
                let (origin, writable) = *guest.memory().pages.get(&(offset - skipped))?;
                let origin = match origin {
                    Origin::Memory(address) => Origin::Memory(address + skipped),
                    Origin::File(id, position) => Origin::File(id, position + skipped),
                };
                Some((origin, writable))
            }
        }
    }

    /// What the guest's CPU loads at an offset of its window.
    pub(crate) fn load(&self, disk: &Disk, offset: u64) -> Result<u64, memory::Fault> {
        match self.place(offset) {
            Some((Origin::Memory(address), _)) => memory::load(address),
            Some((Origin::File(id, position), _)) => disk.load(id, position).ok_or(memory::Fault),
            None => Err(memory::Fault),
        }
    }

    /// What comes of its store.
    pub(crate) fn store(&self, disk: &Disk, offset: u64, word: u64) -> Result<(), memory::Fault> {
        match self.place(offset) {
            Some((Origin::Memory(address), true)) => memory::store(address, word),
            Some((Origin::File(id, position), true)) => disk.store(id, position, word).ok_or(memory::Fault),
            _ => Err(memory::Fault),
        }
    }

    /// The machine is gone between two requests: nobody says goodbye. What stays charged, for ranges that a hypervisor would
    /// not give up.
    pub(crate) fn power_off(mut self, stage: &mut Stage) -> u64 {
        let before = self.before();
        let (drained, left, failed) = failing::with(stage.plan, || self.mapper.drain_all());
        stage.plan = left;
        drained.unwrap();
        let reply = Reply { errno: 0, body: Vec::new(), by_mapper: false };
        if !self.naive.closed {
            self.judge(stage, Some(&Request::Drain), &reply, &before, failed);
        }
        let stats = self.mapper.stats();
        let counts = [
            ("mappings set up", stats.setup_count),
            ("mappings removed", stats.remove_count),
            ("mappings upgraded", stats.upgrade_count),
            ("mappings replaced", stats.replaced_count),
            ("mappings split", stats.split_count),
            ("mappings swept", stats.swept_count),
            ("mappings lost", stats.lost_count),
            ("mappings leaked", stats.leaked_count),
        ];
        for (what, times) in counts {
            stage.count(what, times);
        }
        let Self { server, mapper, window, .. } = self;
        drop(server);
        let used = Budget::of_process().used();
        let mut is_whole = stats.leaked_count == 0;
        match window {
            Window::Host(window) => is_whole = window.release().is_ok(),
            Window::Pages(memory) => is_whole &= memory.memory().pages.is_empty(),
        }
        drop(mapper);
        let charged = self.charged + Budget::of_process().used() - used;
        assert!(!is_whole || self.has_failed || charged == 0, "{charged} stay charged for a machine that is off");
        charged
    }
}
