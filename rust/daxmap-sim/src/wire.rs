//! FUSE as Linux speaks it (include/uapi/linux/fuse.h): requests as bytes, and replies held to what the kernel checks.

/// `fuse_opcode`, as far as the guests here use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Opcode {
    Lookup = 1,
    Forget = 2,
    Getattr = 3,
    Setattr = 4,
    Unlink = 10,
    Link = 13,
    Open = 14,
    Read = 15,
    Write = 16,
    Release = 18,
    Init = 26,
    Opendir = 27,
    Releasedir = 29,
    Create = 35,
    Destroy = 38,
    BatchForget = 42,
    Fallocate = 43,
    ReaddirPlus = 44,
    Rename2 = 45,
    SetupMapping = 48,
    RemoveMapping = 49,
}

/// The nodeid of the mounted directory.
pub(crate) const ROOT: u64 = 1;
/// "No handle": what Linux sends with a SETUPMAPPING.
pub(crate) const NO_FH: u64 = u64::MAX;

/// The body of a request, field by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn longs(mut self, longs: &[u64]) -> Self {
        self.0.extend(longs.iter().flat_map(|long| long.to_le_bytes()));
        self
    }

    pub(crate) fn words(mut self, words: &[u32]) -> Self {
        self.0.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self
    }

    pub(crate) fn name(mut self, name: &str) -> Self {
        self.0.extend(name.as_bytes());
        self.0.push(0);
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

/// A whole request.
pub(crate) fn request(opcode: Opcode, unique: u64, nodeid: u64, body: &Body) -> Vec<u8> {
    let length = u32::try_from(40 + body.0.len()).unwrap();
    Body::default().words(&[length, opcode as u32]).longs(&[unique, nodeid]).words(&[0, 0, 1, 0]).bytes(&body.0).0
}

/// What a guest is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 0 for success.
    pub(crate) errno: i32,
    pub(crate) body: Vec<u8>,
    /// Whether the mapper was asked, and has refused.
    pub(crate) by_mapper: bool,
}

impl Reply {
    /// Holds a reply to `virtio_fs_verify_response` (`fs/fuse/virtio_fs.c`) and to the size that the guest's kernel wants
    /// (`fuse_copy_out_args` of fs/fuse/dev.c).
    pub(crate) fn parse(opcode: Opcode, unique: u64, reply: Option<Vec<u8>>) -> Self {
        let is_forget = matches!(opcode, Opcode::Forget | Opcode::BatchForget);
        let Some(reply) = reply else {
            assert!(is_forget, "no reply to {opcode:?}");
            return Self { errno: 0, body: Vec::new(), by_mapper: false };
        };
        assert!(!is_forget, "a {opcode:?} has no reply");
        assert!(reply.len() >= 16, "a reply of {} bytes", reply.len());
        assert_eq!(word(&reply, 0) as usize, reply.len(), "header.len is not what was used");
        assert_eq!(long(&reply, 8), unique, "the reply to another request");
        let error = word(&reply, 4).cast_signed();
        assert!((-511..=0).contains(&error), "error {error}");
        let body = reply[16..].to_vec();
        let size = match opcode {
            _ if error != 0 => 0,
            Opcode::Lookup | Opcode::Link => 128,
            Opcode::Getattr | Opcode::Setattr => 104,
            Opcode::Create => 144,
            Opcode::Open | Opcode::Opendir => 16,
            Opcode::Write => 8,
            Opcode::Init => 64,
            Opcode::Read | Opcode::ReaddirPlus => body.len(), // the reader knows how much it wanted
            _ => 0,
        };
        assert_eq!(body.len(), size, "the body of a reply to {opcode:?}, errno {}", -error);
        Self { errno: -error, body, by_mapper: false }
    }
}

/// `struct fuse_attr`, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) dax: bool,
}

impl Attributes {
    pub(crate) fn at(body: &[u8], start: usize) -> Self {
        Self { ino: long(body, start), size: long(body, start + 8), dax: word(body, start + 84) & 1 << 1 != 0 }
    }
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
