//! The model of the other tests: what should be live, and what the kernel says of this process's memory.
#![allow(dead_code)] // those tests use more of it

#[path = "../model/failures.rs"]
pub(crate) mod failures;
#[path = "../model/files.rs"]
pub(crate) mod files;
#[path = "../model/maps.rs"]
pub(crate) mod maps;
#[path = "../model/naive.rs"]
pub(crate) mod naive;
#[path = "../model/requests.rs"]
pub(crate) mod requests;
