//! Random sequences of every operation, with failures at any call of the backend, against a model too plain to be
//! wrong.
//!
//! `PROPTEST_CASES=100000 cargo test --release --test model` tries that many sequences over each backend.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

mod budget;
mod by_hand;
mod cpu;
mod every_call_fails;
mod failures;
mod files;
mod guest;
mod maps;
mod naive;
mod over_guests;
mod over_host_window;
mod over_recorder;
mod own_steps;
mod random_requests;
mod recorder;
mod requests;
mod world;
