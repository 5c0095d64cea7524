//! A read-only share whose mapper is not: the share's word counts.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use daxmap_core::fuse::Policy;
use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options as MapperOptions};
use daxmap_virtiofs::{Cache, FileServer, Options, Owner};
use std::sync::Arc;

fn request(opcode: u32, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    let mut request = [length.to_le_bytes(), opcode.to_le_bytes()].concat();
    request.extend([7_u64, nodeid, 0, 0].map(u64::to_le_bytes).concat());
    request.extend(body);
    request
}

#[test]
fn nothing_of_a_read_only_share_is_mapped_to_be_written() {
    let directory = std::env::temp_dir().join(format!("daxmap-readonly-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("file"), [b'x'; 4096]).unwrap();
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(GuestAddress(0), 2 << 20, MapperOptions::default(), |range| window.attach(range)).unwrap();
    let mapper = Arc::new(mapper);
    let options = Options {
        readonly: true,
        dax: Policy::Always,
        owner: Owner::Host,
        cache: Cache::Auto,
        max_open: None,
        refresh_on_growth: false,
    };
    let server = FileServer::new(&directory, Some(Arc::clone(&mapper)), &options).unwrap();
    let entry = server.answer(&request(1, 1, b"file\0")).unwrap();
    let nodeid = u64::from_le_bytes(entry[16..24].try_into().unwrap());
    let told = |flags: u64| {
        let body = [u64::MAX, 0, 4096, flags, 0].map(u64::to_le_bytes).concat();
        let reply = server.answer(&request(48, nodeid, &body)).unwrap();
        i32::from_le_bytes(reply[4..8].try_into().unwrap())
    };
    assert_eq!(told(3), -libc::EROFS);
    assert_eq!(mapper.live_mappings(), 0);
    assert_eq!(told(2), 0);
    assert_eq!(told(3), -libc::EROFS);
    mapper.drain_all().unwrap();
    drop(server);
    drop(mapper);
    window.release().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}
