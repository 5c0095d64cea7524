//! What came of a request, held to the model: the answer, the mapper's book and counters, the budget, the session's counters.

use crate::machine::{Machine, Window};
use crate::model::requests::{Answer, Request};
use crate::stage::Stage;
use crate::sys::failing::Failed;
use crate::wire::{Opcode, Reply};
use daxmap_core::{Budget, Stats};

/// What was so before a request.
pub(crate) struct Before {
    stats: Stats,
    /// Of the process's budget.
    used: u64,
}

impl Machine {
    /// What is so before a request.
    pub(crate) fn before(&self) -> Before {
        if let Window::Pages(memory) = &self.window {
            memory.memory().failed = false;
        }
        Before { stats: self.mapper.stats(), used: Budget::of_process().used() }
    }

    /// Holds what came of a request, while some calls failed, to the model; whether the mapper has refused it.
    pub(crate) fn judge(
        &mut self,
        stage: &mut Stage,
        means: Option<&Request>,
        reply: &Reply,
        before: &Before,
        failed: Failed,
    ) -> bool {
        let any_failed = self.count_failures(stage, failed);
        let stats = self.mapper.stats();
        let is_new = |(errno, count): &&(i32, u64)| !before.stats.errors.contains(&(*errno, *count));
        let counted = stats.errors.iter().find(is_new).map_or(0, |(errno, _)| *errno);
        let (live, unknown) = (self.naive.live.len(), self.unknown());
        match means {
            Some(means) if counted != 0 || reply.errno == 0 => {
                let errno = match means {
                    Request::Setup { .. } => {
                        assert_eq!(reply.errno, told(counted), "what the guest is told of errno {counted}");
                        counted
                    }
                    Request::Reset | Request::Drain => counted,
                    _ => reply.errno,
                };
                let made = stage.disk.files.iter().skip(self.naive.files.len());
                self.naive.files.extend(made.map(|file| (file.id, true)));
                let gave_up = self.mapper.is_closed() && !self.naive.closed && !matches!(means, Request::Drain);
                stage.count("the window got out of control", u64::from(gave_up));
                // Of a mapping that reaches out of a gap, a part is lost, and the rest is counted as live.
                let lost = stats.lost_count > before.stats.lost_count || gave_up || errno != 0 && failed.gaps > 0;
                let answer = Answer { errno, lost, ..Answer::default() };
                let limit_is_fuzzy = self.naive.is_limited() && unknown > 0;
                self.naive.check(means, &answer, &self.mapper, any_failed || limit_is_fuzzy);
            }
            means => {
                let by_server = means.is_none_or(|means| matches!(means, Request::Setup { .. }));
                assert!(by_server, "errno {}, and the mapper has not refused it", reply.errno);
                self.naive.agrees_with(&self.mapper);
            }
        }
        let used = Budget::of_process().used();
        let is_unchanged = self.naive.live.len() == live && stats.lost_count == before.stats.lost_count;
        let may_differ = failed.gaps > 0 || self.naive.closed; // by the kind of its holes
        if matches!(means, Some(Request::Setup { .. })) && counted != 0 && is_unchanged && !may_differ {
            // A range of which nobody knew may have become known, or a part of it: then two are left.
            let keeps = used == before.used || unknown > 0;
            assert!(keeps, "a setup that failed charged the budget: {} before, {used} now", before.used);
        }
        self.charged = self.charged + used - before.used;
        self.check_budget();
        counted != 0
    }

    /// Whether any of the calls failed that the mapper makes.
    fn count_failures(&mut self, stage: &mut Stage, failed: Failed) -> bool {
        let of_guest = matches!(&self.window, Window::Pages(memory) if memory.memory().failed);
        stage.count("a hypervisor's call failed", u64::from(of_guest));
        stage.count("mmap failed", failed.maps - failed.gaps);
        stage.count("mmap failed and left a gap", failed.gaps);
        stage.count("munmap failed", failed.unmaps);
        stage.count("fstat failed", failed.stats);
        stage.count("pwritev2 failed", failed.writes);
        let any = of_guest || failed.maps + failed.unmaps + failed.stats > 0;
        self.has_failed |= any;
        any
    }

    /// The budget is charged for what there is: two VMAs a mapping in a host window, and its holes; one a mapping, or a
    /// range of which nobody knows, under a hypervisor.
    fn check_budget(&self) {
        if self.naive.closed {
            return;
        }
        let live = self.naive.live.len() as u64;
        match &self.window {
            Window::Host(_) => {
                let holes = 1..=self.kind.ranges + 1;
                let charged = self.charged.checked_sub(2 * live);
                assert!(charged.is_some_and(|of| holes.contains(&of)), "{} charged for {live} mappings", self.charged);
            }
            Window::Pages(_) => {
                assert!(self.charged >= live, "{} charged for {live} mappings", self.charged);
                assert!(self.has_failed || self.charged == live, "{} charged for {live} mappings", self.charged);
            }
        }
    }

    /// Ranges of which it is unknown whether the guest sees them.
    pub(crate) fn unknown(&self) -> u64 {
        match &self.window {
            Window::Host(_) => 0,
            Window::Pages(_) => self.charged.saturating_sub(self.naive.live.len() as u64),
        }
    }

    /// The session counts how its guest fares.
    pub(crate) fn check_outcomes(&mut self, opcode: Opcode, is_granted: bool) {
        match opcode {
            Opcode::SetupMapping if is_granted => self.outcomes.0 += 1,
            Opcode::SetupMapping => self.outcomes.1 += 1,
            Opcode::Init => self.outcomes = (0, 0),
            _ => {}
        }
        let outcomes = self.server.session().outcomes();
        let refused = outcomes.refused().iter().map(|(_, times)| times).sum();
        assert_eq!((outcomes.mapped(), refused), self.outcomes, "what the session has counted");
    }
}

/// What a guest is told of an errno when it has asked for a mapping: fs/fuse/dax.c repeats what EAGAIN is the answer to, for
/// ever, and takes ENOMEM for its own.
fn told(errno: i32) -> i32 {
    match errno {
        libc::EAGAIN | libc::EINTR | 512.. => libc::EIO,
        libc::ENOMEM => libc::ENOSPC,
        errno => errno,
    }
}
