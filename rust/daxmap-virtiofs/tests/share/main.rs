//! What a guest does with a share, request by request, and what the host sees of it.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    clippy::wildcard_imports,
    missing_docs
)]

mod attributes;
#[path = "../client/mod.rs"]
mod client;
mod data;
mod dax;
mod descriptors;
mod directories;
mod inodes;
mod making;
mod served;
mod session;
mod xattrs;
