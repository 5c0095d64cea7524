//! The file server beside the file system of the crate that it stands on, in turn, round by round: a line a round, with what
//! was measured, and the nanoseconds that each took an operation.
#![allow(
    missing_docs,
    unused_crate_dependencies,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::arithmetic_side_effects
)]

#[cfg(target_os = "linux")]
#[path = "../src/frame.rs"]
mod frame;

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use crate::frame::{Frame, LONGEST_REPLY};
    use daxmap_core::fuse::Policy;
    use daxmap_virtiofs::{Cache, FileServer, Options, Owner};
    use fuse_backend_rs::api::server::Server;
    use fuse_backend_rs::passthrough::{Config, PassthroughFs};
    use std::time::Instant;

    const ROUNDS: usize = 200;
    const COUNT: u32 = 100;
    const FILE: &str = "file";

    type Answer<'a> = Box<dyn FnMut(&[u8]) -> Vec<u8> + 'a>;

    fn request(opcode: u32, nodeid: u64, body: &[u8]) -> Vec<u8> {
        let mut request = u32::try_from(40 + body.len()).unwrap().to_le_bytes().to_vec();
        request.extend(opcode.to_le_bytes());
        request.extend(7_u64.to_le_bytes());
        request.extend(nodeid.to_le_bytes());
        request.extend([0; 16]);
        request.extend(body);
        request
    }

    /// What a guest does once it has mounted the directory.
    struct Guest<'a> {
        answer: Answer<'a>,
        nodeid: u64,
        fh: [u8; 8],
    }

    impl<'a> Guest<'a> {
        fn mount(mut answer: Answer<'a>) -> Self {
            let mut init: Vec<u8> = [7_u32, 38, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
            init.resize(64, 0);
            answer(&request(26, 0, &init));
            let found = answer(&request(1, 1, format!("{FILE}\0").as_bytes()));
            let nodeid = u64::from_le_bytes(found[16..24].try_into().unwrap());
            let fh = answer(&request(14, nodeid, &[0; 8]))[16..24].try_into().unwrap();
            Self { answer, nodeid, fh }
        }

        fn operation(&mut self, what: &str) {
            let Self { answer, nodeid, fh } = self;
            let replied = match what {
                "LOOKUP" => answer(&request(1, 1, format!("{FILE}\0").as_bytes())),
                "GETATTR" => answer(&request(3, *nodeid, &[0; 16])),
                "OPEN and RELEASE" => {
                    let opened = answer(&request(14, *nodeid, &[0; 8]));
                    let mut body = opened[16..24].to_vec();
                    body.resize(24, 0);
                    answer(&request(18, *nodeid, &body))
                }
                _ => {
                    let mut body = fh.to_vec();
                    body.extend(0_u64.to_le_bytes());
                    body.extend(4096_u32.to_le_bytes());
                    body.resize(40, 0);
                    answer(&request(15, *nodeid, &body))
                }
            };
            assert_eq!(replied[4..8], [0; 4], "{what}");
        }

        fn timed(&mut self, what: &str) -> f64 {
            let start = Instant::now();
            (0..COUNT).for_each(|_| self.operation(what));
            start.elapsed().as_secs_f64() * 1e9 / f64::from(COUNT)
        }
    }

    pub(super) fn main() {
        let directory = std::env::temp_dir().join(format!("daxmap-metadata-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join(FILE), [7; 8192]).unwrap();
        let options =
            Options { readonly: false, dax: Policy::Never, owner: Owner::Host, cache: Cache::Auto, max_open: None };
        let ours = FileServer::new(&directory, None, &options).unwrap();
        let config = Config { root_dir: directory.to_str().unwrap().to_owned(), xattr: true, ..Config::default() };
        let theirs = PassthroughFs::<()>::new(config).unwrap();
        theirs.import().unwrap();
        let theirs = Server::new(std::sync::Arc::new(theirs));
        let mut frame = Frame::new().unwrap();
        let mut contender = Guest::mount(Box::new(|request| ours.answer(request).unwrap()));
        let mut floor = Guest::mount(Box::new(|request| frame.answer(&theirs, request, LONGEST_REPLY).unwrap()));
        for what in ["LOOKUP", "GETATTR", "OPEN and RELEASE", "READ of 4 KiB"] {
            for round in 0..ROUNDS {
                let (ours, theirs) = if round % 2 == 0 {
                    let ours = contender.timed(what);
                    (ours, floor.timed(what))
                } else {
                    let theirs = floor.timed(what);
                    (contender.timed(what), theirs)
                };
                println!("{what}\t{ours}\t{theirs}");
            }
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
