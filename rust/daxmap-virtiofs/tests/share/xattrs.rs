//! SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR: attributes that programs give to files.

use crate::client::requests::*;
use crate::client::{ROOT, word};
use crate::served::{Directory, OPTIONS, may_act_as_others};
use daxmap_virtiofs::{Options, Owner};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Each of which ends with a null byte.
fn names(list: &[u8]) -> Vec<String> {
    let text = String::from_utf8(list.to_vec()).unwrap();
    let mut names: Vec<_> = text.split_terminator('\0').map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_guest_has_attributes_of_its_users_alone() {
    let directory = Directory::new("xattrs");
    let path = directory.write("file", "");
    let give = |name: &str| rustix::fs::setxattr(&path, name, b"x", XattrFlags::empty());
    if give("user.a") == Err(Errno::OPNOTSUPP) {
        eprintln!("SKIP: extended attributes: the file system has none");
        return;
    }
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    guest.get(&setxattr(node, "user.a", b"value", libc::XATTR_REPLACE));
    assert_eq!(guest.get(&getxattr(node, "user.a", 5)), b"value");
    assert_eq!(word(&guest.get(&getxattr(node, "user.a", 0)), 0), 5);
    assert_eq!(guest.errno(&getxattr(node, "user.a", 4)), libc::ERANGE);
    assert_eq!(guest.errno(&getxattr(node, "user.none", 4)), libc::ENODATA);
    assert_eq!(guest.errno(&setxattr(node, "user.a", b"x", libc::XATTR_CREATE)), libc::EEXIST);
    assert_eq!(guest.errno(&setxattr(node, "user.b", b"x", libc::XATTR_REPLACE)), libc::ENODATA);
    assert_eq!(guest.errno(&setxattr(node, "user.b", b"x", 1 << 10)), libc::EINVAL);
    guest.get(&setxattr(node, "user.b", &[7; 1000], libc::XATTR_CREATE));
    assert_eq!(guest.get(&getxattr(node, "user.b", 65_536)), [7; 1000]);

    // Those of the host's security modules are the host's, and a guest does not even see them.
    let has_host_s = give("security.daxmap").is_ok();
    assert_eq!(names(&guest.get(&listxattr(node, 100))), ["user.a", "user.b"]);
    assert_eq!(word(&guest.get(&listxattr(node, 0)), 0), 14);
    assert_eq!(guest.errno(&listxattr(node, 13)), libc::ERANGE);
    for name in ["security.daxmap", "trusted.a", "system.posix_acl_access", "user", ""] {
        let requests = [getxattr(node, name, 100), setxattr(node, name, b"x", 0), removexattr(node, name)];
        assert_eq!(requests.map(|request| guest.errno(&request)), [libc::EOPNOTSUPP; 3], "{name}");
    }
    guest.get(&removexattr(node, "user.a"));
    assert_eq!(names(&guest.get(&listxattr(node, 100))), ["user.b"]);
    assert_eq!(guest.errno(&removexattr(node, "user.a")), libc::ENODATA);

    if may_act_as_others("attributes of a guest's security modules") && has_host_s {
        let guest = directory.served(Options { owner: Owner::Guest, ..OPTIONS });
        let node = guest.look_up(ROOT, "file");
        let listed = names(&guest.get(&listxattr(node, 1000))); // with those of the host's own security modules
        assert!(listed.contains(&"security.daxmap".to_owned()) && listed.contains(&"user.b".to_owned()), "{listed:?}");
        assert_eq!(guest.get(&getxattr(node, "security.daxmap", 100)), b"x");
        assert_eq!(guest.errno(&getxattr(node, "trusted.a", 100)), libc::EOPNOTSUPP);
    }
}
