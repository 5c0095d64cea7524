//! A virtiofs device with DAX, for VMMs that speak vhost-user: QEMU, crosvm.
//!
//! A [`Device`] is a share: a directory's file server, the mapper of its window, and what a virtio driver is told. A
//! [`Service`] brings it to one front end after another, over a socket. The window is the front end's memory: each change of
//! it is a message.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs))]

mod activity;
mod buffers;
mod confine;
mod device;
mod keeper;
mod notices;
mod queue;
mod request;
mod service;
mod settings;
mod socket;
mod sys;
#[cfg(test)]
#[path = "../../daxmap-core/tests/vectors/mod.rs"]
mod vectors;
mod vhost_user;
mod window;

pub use confine::{Confinement, confine, raise_descriptor_limit};
pub use device::Device;
pub use notices::Notices;
pub use service::Service;
pub use settings::{BadSetting, Settings};
pub use socket::{Socket, SocketError};
pub use window::{Abilities, Channel, WindowBackend};
