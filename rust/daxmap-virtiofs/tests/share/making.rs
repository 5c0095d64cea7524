//! CREATE, MKNOD, MKDIR, SYMLINK, LINK: what a guest makes, with which mode, and whose it is.

use crate::client::requests::*;
use crate::client::{ROOT, long, word};
use crate::served::{Directory, OPTIONS, may_act_as_others};
use daxmap_virtiofs::{Options, Owner};
use rustix::fs::Mode;
use rustix::process::{geteuid, umask};
use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::thread;

const PLAIN: u32 = 0o100_666;

#[test]
fn what_is_made_has_the_mode_that_was_asked_for_whatever_the_processs_umask() {
    let directory = Directory::new("modes");
    umask(Mode::from_raw_mode(0o022));
    let guest = directory.served(OPTIONS);
    if !a_thread_has_its_own_umask() {
        eprintln!("SKIP: modes of files: a thread can't have a umask of its own here: unshare(CLONE_FS)");
        return;
    }
    let mode = |name: &str| std::fs::metadata(directory.path(name)).unwrap().permissions().mode() & 0o7777;
    let make = |request, name: &str| {
        guest.get(&request);
        mode(name)
    };
    for (umask, file, inner) in [(0, 0o666, 0o1777), (0o027, 0o640, 0o1750)] {
        assert_eq!(make(mknod(ROOT, &format!("node {umask}"), PLAIN, umask), &format!("node {umask}")), file);
        let flags = libc::O_RDWR | libc::O_CREAT;
        assert_eq!(make(create(ROOT, &format!("file {umask}"), flags, PLAIN, umask), &format!("file {umask}")), file);
        assert_eq!(make(mkdir(ROOT, &format!("inner {umask}"), 0o1777, umask), &format!("inner {umask}")), inner);
    }
    assert_eq!(make(create(ROOT, "program", libc::O_RDWR, 0o106_755, 0), "program"), 0o755, "run as the server");
    directory.write("of this process", "");
    assert_eq!(mode("of this process"), 0o644, "the process has its own umask still");
}

/// `Umask` of `proc_pid_status(5)`, of the threads that make files.
fn a_thread_has_its_own_umask() -> bool {
    let read = |thread: &Path, file| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
    std::fs::read_dir("/proc/self/task").unwrap().any(|thread| {
        let thread = thread.unwrap().path();
        read(&thread, "comm") == "daxmap-creator\n" && read(&thread, "status").contains("\nUmask:\t0000\n")
    })
}

#[test]
fn each_kind_of_file_is_made_but_for_devices() {
    let directory = Directory::new("kinds");
    let guest = directory.served(OPTIONS);
    for (kind, name) in [(0, "none said"), (libc::S_IFREG, "file"), (libc::S_IFIFO, "fifo"), (libc::S_IFSOCK, "socket")]
    {
        let entry = guest.get(&mknod(ROOT, name, kind | 0o600, 0));
        let wanted = if kind == 0 { libc::S_IFREG } else { kind };
        assert_eq!((word(&entry, 40 + 60), guest.look_up(ROOT, name)), (wanted | 0o600, long(&entry, 0)), "{name}");
        assert_eq!(std::fs::metadata(directory.path(name)).unwrap().mode(), wanted | 0o600, "{name}");
    }
    for kind in [libc::S_IFCHR, libc::S_IFBLK, libc::S_IFDIR, libc::S_IFLNK] {
        assert_eq!(guest.errno(&mknod(ROOT, "other", kind | 0o600, 0)), libc::EPERM);
    }
    let entry = guest.get(&symlink(ROOT, "link", "where it points"));
    assert_eq!(word(&entry, 40 + 60), 0o120_777);
    assert_eq!(guest.get(&readlink(long(&entry, 0))), b"where it points");
    assert_eq!(std::fs::read_link(directory.path("link")).unwrap().to_str(), Some("where it points"));
    let fifo = guest.look_up(ROOT, "fifo");
    assert_eq!(guest.errno(&readlink(fifo)), libc::EINVAL);
    assert_eq!(guest.errno(&open(fifo, libc::O_RDONLY)), libc::ENXIO, "it would wait for who writes to it");
    assert_eq!(guest.errno(&open(guest.look_up(ROOT, "link"), libc::O_RDONLY)), libc::ENXIO);
    assert!(std::fs::metadata(directory.path("socket")).unwrap().file_type().is_socket());
}

#[test]
fn a_link_is_the_same_inode_at_another_place() {
    let directory = Directory::new("link");
    directory.write("file", "content");
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let inner = long(&guest.get(&mkdir(ROOT, "inner", 0o755, 0)), 0);
    let entry = guest.get(&link(node, inner, "other"));
    assert_eq!((long(&entry, 0), word(&entry, 40 + 64)), (node, 2));
    assert_eq!(std::fs::read(directory.path("inner/other")).unwrap(), b"content");
    assert_eq!(guest.errno(&link(node, inner, "other")), libc::EEXIST);
    assert_eq!(guest.errno(&link(inner, ROOT, "third")), libc::EPERM, "a directory has one place");
}

#[test]
fn a_file_that_is_there_is_opened_unless_a_new_one_was_wanted() {
    let directory = Directory::new("create");
    directory.write("file", "content");
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let ask = |name, flags| guest.ask(&create(ROOT, name, flags, PLAIN, 0));
    assert_eq!(ask("file", libc::O_RDWR | libc::O_CREAT | libc::O_EXCL).errno, libc::EEXIST);
    assert_eq!(ask("file", libc::O_RDWR | libc::O_WRONLY).errno, libc::EINVAL, "no access mode");
    let opened = ask("file", libc::O_RDONLY | libc::O_CREAT).body;
    assert_eq!(long(&opened, 0), node);
    let fh = long(&opened, 128);
    assert_eq!(guest.get(&read(node, fh, 0, 100)), b"content");
    assert_eq!(guest.errno(&write(node, fh, 0, b"x", 0, 0)), libc::EBADF, "it was opened to be read");
    assert_eq!(ask("file", libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC).errno, 0);
    assert_eq!(std::fs::read(directory.path("file")).unwrap(), b"");
    guest.get(&mkdir(ROOT, "inner", 0o755, 0));
    let known = guest.0.known_inodes();
    assert_eq!(ask("inner", libc::O_RDWR | libc::O_CREAT).errno, libc::EISDIR);
    guest.get(&forget(guest.look_up(ROOT, "inner"), 2));
    assert_eq!(guest.0.known_inodes(), known - 1, "of one that was refused the guest has not heard");
}

#[test]
fn what_is_made_is_the_servers() {
    let directory = Directory::new("owner");
    let guest = directory.served(OPTIONS);
    let own = geteuid().as_raw();
    guest.get(&mkdir(ROOT, "inner", 0o755, 0));
    let entry = guest.get(&create(ROOT, "file", libc::O_RDWR, PLAIN, 0).by(own + 1, own + 1));
    assert_eq!([word(&entry, 40 + 68), std::fs::metadata(directory.path("inner")).unwrap().uid()], [own; 2]);
}

#[test]
fn what_is_made_is_the_guests_users() {
    if !may_act_as_others("files that are a guest's users'") {
        return;
    }
    let directory = Directory::new("users");
    std::fs::set_permissions(directory.path(""), Permissions::from_mode(0o777)).unwrap();
    for (name, uid, gid, mode) in [("of the user", 1000, 0, 0o700), ("of the group", 0, 4321, 0o770)] {
        std::fs::create_dir(directory.path(name)).unwrap();
        chown(directory.path(name), Some(uid), Some(gid)).unwrap();
        std::fs::set_permissions(directory.path(name), Permissions::from_mode(mode)).unwrap();
    }
    // The server's process is in a group that the guest's user is not in.
    let start = || {
        rustix::thread::set_thread_groups(&[rustix::thread::Gid::from_raw(4321)]).unwrap();
        directory.served(Options { owner: Owner::Guest, ..OPTIONS })
    };
    let guest = thread::scope(|scope| scope.spawn(start).join().unwrap());
    let [own, of_group] = ["of the user", "of the group"].map(|name| guest.look_up(ROOT, name));
    for (request, name) in [
        (create(own, "file", libc::O_RDWR, PLAIN, 0), "file"),
        (mkdir(own, "inner", 0o755, 0), "inner"),
        (symlink(own, "link", "x"), "link"),
    ] {
        guest.get(&request.by(1000, 1001));
        let is = std::fs::symlink_metadata(directory.path("of the user").join(name)).unwrap();
        assert_eq!((is.uid(), is.gid()), (1000, 1001), "{name}");
    }
    assert_eq!(guest.errno(&mkdir(own, "of another", 0o755, 0).by(1002, 1002)), libc::EACCES);
    assert_eq!(guest.errno(&mkdir(of_group, "inner", 0o755, 0).by(1000, 1000)), libc::EACCES, "the server's group");
    // -1 stands for "unchanged" where a process becomes another user.
    for (uid, gid) in [(u32::MAX, 1000), (1000, u32::MAX)] {
        assert_eq!(guest.errno(&mkdir(ROOT, "nobody's", 0o755, 0).by(uid, gid)), libc::EINVAL);
    }
    // What is there is opened as the guest's user as well.
    std::fs::write(directory.path("of the user/secret"), "").unwrap();
    std::fs::set_permissions(directory.path("of the user/secret"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(guest.errno(&create(own, "secret", libc::O_RDWR, PLAIN, 0).by(1000, 1000)), libc::EACCES);
}
