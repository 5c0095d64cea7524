//! What needs `unsafe`: the guest's loads and stores, system calls that fail, and mounts.
#![allow(unsafe_code)]

pub(crate) mod failing;
pub(crate) mod memory;
pub(crate) mod mounts;
