//! What only Rust code can do: a read-only share whose mapper is not, and threads that are quick enough to meet.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use daxmap_core::fuse::Policy;
use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options as MapperOptions};
use daxmap_virtiofs::{Cache, FileServer, Options, Owner};
use std::sync::Arc;
use std::thread;

fn request(opcode: u32, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    let mut request = [length.to_le_bytes(), opcode.to_le_bytes()].concat();
    request.extend([7_u64, nodeid, 0, 0].map(u64::to_le_bytes).concat());
    request.extend(body);
    request
}

fn options(readonly: bool) -> Options {
    Options { readonly, dax: Policy::Always, owner: Owner::Host, cache: Cache::Auto, max_open: None }
}

#[test]
fn nothing_of_a_read_only_share_is_mapped_to_be_written() {
    let directory = std::env::temp_dir().join(format!("daxmap-readonly-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("file"), [b'x'; 4096]).unwrap();
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(GuestAddress(0), 2 << 20, MapperOptions::default(), |range| window.attach(range)).unwrap();
    let mapper = Arc::new(mapper);
    let options = options(true);
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
    assert!(format!("{server:?}").contains(&format!("{options:?}")), "{server:?}");
    assert_eq!(told(2), 0);
    assert_eq!(told(3), -libc::EROFS);
    mapper.drain_all().unwrap();
    drop(server);
    drop(mapper);
    window.release().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn threads_that_read_a_directory_by_one_handle_get_what_they_ask_for() {
    let directory = std::env::temp_dir().join(format!("daxmap-threads-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    for number in 0..50 {
        std::fs::write(directory.join(format!("file{number}")), b"").unwrap();
    }
    let server = FileServer::new(&directory, None, &options(false)).unwrap();
    let opened = server.answer(&request(27, 1, &[0; 8])).unwrap();
    let fh = u64::from_le_bytes(opened[16..24].try_into().unwrap());
    let listed = |offset: u64| {
        let body = [fh, offset, 100, 0, 0].map(u64::to_le_bytes).concat();
        server.answer(&request(28, 1, &body)).unwrap()
    };
    let first = listed(0);
    let offset = u64::from_le_bytes(first[24..32].try_into().unwrap());
    let second = listed(offset);
    assert_ne!(first, second);
    thread::scope(|scope| {
        for (offset, whole) in [(0, &first), (offset, &second)].repeat(2) {
            scope.spawn(move || (0..5000).for_each(|_| assert_eq!(&listed(offset), whole)));
        }
    });
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}
