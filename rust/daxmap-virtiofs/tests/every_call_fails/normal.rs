//! What may come of a request some of whose calls fail, by what comes of it when none does.

use crate::client::{Reply, Request};
use crate::sys::Plan;
use crate::world::{State, World};
use std::fmt::Debug;

// Opcodes.
const READLINK: u32 = 5;
const READ: u32 = 15;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
const INIT: u32 = 26;
const READDIR: u32 = 28;
const DESTROY: u32 = 38;
const READDIRPLUS: u32 = 44;
const SETUPMAPPING: u32 = 48;
const REMOVEMAPPING: u32 = 49;

/// What comes of a request while no call fails.
pub(crate) struct Normal {
    pub(crate) before: State,
    pub(crate) after: State,
    /// What the inodes are that the guest knows, by errno, before and after.
    pub(crate) found: [Vec<i32>; 2],
    pub(crate) reply: Reply,
}

impl Normal {
    /// How what came of a request, some of whose calls failed, differs from all that it may be.
    pub(crate) fn faults(&self, request: &Request, reply: &Reply, world: &World) -> Vec<String> {
        let opcode = request.opcode;
        let mut faults = Vec::new();
        let state = world.state();
        let found = world.found();
        let is_done = reply.errno == 0 && self.reply.errno == 0;
        let Self { before, after, .. } = self;
        let expected = if is_done { after } else { before };
        let mut check = |what: &str, is_right: bool, found: &dyn Debug, wanted: &dyn Debug| {
            if !is_right {
                faults.push(format!("{what}: {found:?} in place of {wanted:?}"));
            }
        };
        // A directory is told as far as it can be read, but never as one that ends before it begins.
        let is_partial = matches!(opcode, READDIR | READDIRPLUS) && is_done && !reply.body.is_empty();
        let (length, whole) = (reply.body.len(), self.reply.body.len());
        check("body", !is_done || length == whole || is_partial && length < whole, &length, &whole);
        // What was done before a call failed is not undone: the guest is told of the failure, as by a network file system.
        let is_done_in_part = !is_done && state.tree == after.tree;
        check("tree", state.tree == expected.tree || is_done_in_part, &state.tree, &expected.tree);
        let are_told = is_partial && state.inodes >= before.inodes && state.inodes <= after.inodes;
        check("inodes", state.inodes == expected.inodes || are_told, &state.inodes, &expected.inodes);
        // The descriptor that a file is mapped by is kept for the next time.
        let is_kept = opcode == SETUPMAPPING && state.open == after.open;
        check("open", state.open == expected.open || is_kept, &state.open, &expected.open);
        let wanted = &self.found[usize::from(is_done)];
        check("found", found == *wanted, &found, wanted);
        // No failure keeps a guest from starting, or leaving; and of several mappings some may be gone.
        let is_part = state.mappings.iter().all(|live| before.mappings.contains(live));
        let may_differ = is_part && matches!(opcode, INIT | DESTROY | REMOVEMAPPING) || world.has_given_up();
        check("mappings", state.mappings == expected.mappings || may_differ, &state.mappings, &expected.mappings);
        let is_same = !matches!(opcode, READLINK | READ | GETXATTR | LISTXATTR) || reply.body == self.reply.body;
        check("data", !is_done || is_same, &reply.body, &self.reply.body);
        check("errno", is_done || reply.errno != 0, &reply.errno, &self.reply.errno);
        let goes_round = opcode == SETUPMAPPING && matches!(reply.errno, libc::EAGAIN | libc::EINTR | libc::ENOMEM);
        check("errno", !goes_round, &reply.errno, &"one that a guest does not ask again for");
        if !is_done && self.reply.errno == 0 && state.tree == before.tree && !world.has_given_up() {
            let (again, _) = world.ask(request, Plan::default());
            check("the second time", again.errno == 0, &again.errno, &0);
            let tree = world.state().tree;
            check("tree, the second time", tree == after.tree, &tree, &after.tree);
        }
        faults
    }
}
