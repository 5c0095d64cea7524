//! The model of `daxmap-core`'s own tests: a list of what should be live, a guest behind a hypervisor whose calls fail, and
//! what the kernel says of this process's memory.
#![allow(dead_code)] // those tests use more of it

#[path = "../../daxmap-core/tests/model/cpu.rs"]
pub(crate) mod cpu;
#[path = "../../daxmap-core/tests/model/failures.rs"]
pub(crate) mod failures;
#[path = "../../daxmap-core/tests/model/files.rs"]
pub(crate) mod files;
#[path = "../../daxmap-core/tests/model/guest.rs"]
pub(crate) mod guest;
#[path = "../../daxmap-core/tests/model/maps.rs"]
pub(crate) mod maps;
#[path = "../../daxmap-core/tests/model/naive.rs"]
pub(crate) mod naive;
#[path = "../../daxmap-core/tests/model/own_steps.rs"]
pub(crate) mod own_steps;
#[path = "../../daxmap-core/tests/model/requests.rs"]
pub(crate) mod requests;
