//! System calls that no crate has a safe function for: the only `unsafe` code.
#![allow(unsafe_code)]

pub(crate) mod guest;
