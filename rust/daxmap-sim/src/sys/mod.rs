//! What needs `unsafe`: the guest's loads and stores, and system calls that fail.
#![allow(unsafe_code)]

pub(crate) mod failing;
pub(crate) mod memory;
