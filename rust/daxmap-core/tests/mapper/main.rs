//! What a mapper says of itself, explains, surveys and lends. What its requests do is compared with a model in `tests/model`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

mod access;
mod explain;
mod fixture;
mod hints;
mod hypervisor;
mod loans;
mod prefault;
mod records;
mod refusals;
mod steps;
mod survey;
mod told;
mod window;
