//! LOOKUP, FORGET, UNLINK, RENAME: which inodes a guest knows, and where they are.

use crate::client::requests::*;
use crate::client::{ROOT, Request, long};
use crate::served::{Directory, Guest, OPTIONS};
use daxmap_virtiofs::{Cache, Options};

const FEW: Options = Options { max_open: Some(64), ..OPTIONS }; // a quarter of them for inodes

#[test]
fn names_and_attributes_are_believed_as_long_as_the_cache_says() {
    let directory = Directory::new("believed");
    directory.write("file", "");
    for (cache, seconds) in [(Cache::Never, 0), (Cache::Auto, 1), (Cache::Always, 24 * 60 * 60)] {
        let guest = directory.served(Options { cache, ..OPTIONS });
        let entry = guest.get(&lookup(ROOT, "file"));
        assert_eq!([long(&entry, 16), long(&entry, 24)], [seconds; 2], "{cache:?}");
        assert_eq!(long(&guest.get(&getattr(long(&entry, 0))), 0), seconds, "{cache:?}");
    }
}

#[test]
fn an_inode_is_known_until_all_its_look_ups_are_forgotten() {
    let directory = Directory::new("forgotten");
    for name in ["one", "two"] {
        directory.write(name, "");
    }
    let guest = directory.served(OPTIONS);
    let forget = |node, times| assert_eq!(guest.get(&forget(node, times)), b"");
    let known = || guest.0.known_inodes();
    assert_eq!(known(), 0);
    let one = guest.look_up(ROOT, "one");
    assert_eq!((guest.look_up(ROOT, "one"), known()), (one, 1));
    let two = guest.look_up(ROOT, "two");
    assert_ne!(one, two);
    assert_eq!(known(), 2);
    forget(one, 1);
    assert_eq!(known(), 2);
    forget(one, 1);
    assert_eq!(known(), 1);
    assert_eq!(guest.errno(&getattr(one)), libc::EBADF);
    assert_eq!(guest.look_up(ROOT, "two"), two);
    forget(two, 1);
    assert_eq!(guest.get(&batch_forget(&[two])), b"");
    assert_eq!(known(), 0);
}

#[test]
fn a_name_is_that_of_an_entry_and_nothing_else() {
    let directory = Directory::new("names");
    std::fs::create_dir_all(directory.path("inner/deep")).unwrap();
    directory.write("file", "");
    let guest = directory.served(OPTIONS);
    for (name, errno) in [
        ("", libc::EINVAL),
        (".", libc::EINVAL),
        ("..", libc::EINVAL),
        ("inner/deep", libc::EINVAL),
        ("none", libc::ENOENT),
        (&"n".repeat(255), libc::ENOENT),
        (&"n".repeat(256), libc::ENAMETOOLONG),
    ] {
        for request in [lookup(ROOT, name), unlink(ROOT, name), rename(ROOT, name, ROOT, "new", 0)] {
            assert_eq!(guest.errno(&request), errno, "{request:?}");
        }
    }
    let file = guest.look_up(ROOT, "file");
    assert_eq!(guest.errno(&lookup(file, "x")), libc::ENOTDIR);
    assert_eq!(guest.errno(&lookup(77, "x")), libc::EBADF);
    assert_eq!(guest.errno(&rename(ROOT, "file", ROOT, "..", 0)), libc::EINVAL);
    for flags in [libc::RENAME_WHITEOUT, libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE] {
        assert_eq!(guest.errno(&rename(ROOT, "file", ROOT, "new", flags)), libc::EINVAL);
    }
}

#[test]
fn files_and_directories_are_removed_each_by_its_own_request() {
    let directory = Directory::new("removed");
    std::fs::create_dir_all(directory.path("inner/deep")).unwrap();
    let file = directory.write("file", "");
    let guest = directory.served(OPTIONS);
    let is_there = |name: &str| directory.path(name).exists();
    assert_eq!(guest.errno(&rmdir(ROOT, "file")), libc::ENOTDIR);
    assert_eq!(guest.errno(&unlink(ROOT, "inner")), libc::EISDIR);
    assert_eq!(guest.errno(&rmdir(ROOT, "inner")), libc::ENOTEMPTY);
    let inner = guest.look_up(ROOT, "inner");
    assert_eq!((guest.errno(&rmdir(inner, "deep")), is_there("inner/deep")), (0, false));
    assert_eq!((guest.errno(&rmdir(ROOT, "inner")), is_there("inner")), (0, false));
    assert_eq!((guest.errno(&unlink(ROOT, "file")), file.exists()), (0, false));
}

/// Has others used so often that the server closes what it had open.
fn look_at_others(guest: &Guest) {
    (0..40).for_each(|number| _ = guest.look_up(ROOT, &format!("other {number}")));
}

fn with_others(name: &str) -> Directory {
    let directory = Directory::new(name);
    (0..40).for_each(|number| _ = directory.write(&format!("other {number}"), ""));
    directory
}

#[test]
fn a_file_that_was_moved_is_found_where_it_is_now() {
    let directory = with_others("moved");
    std::fs::create_dir(directory.path("inner")).unwrap();
    directory.write("one", [0; 1]);
    directory.write("inner/two", [0; 2]);
    let guest = directory.served(FEW);
    let inner = guest.look_up(ROOT, "inner");
    let nodes = [guest.look_up(ROOT, "one"), guest.look_up(inner, "two")];
    let sizes = || {
        look_at_others(&guest);
        nodes.map(|node| long(&guest.get(&getattr(node)), 16 + 8))
    };
    for (request, what) in [
        (rename(ROOT, "one", inner, "two", libc::RENAME_EXCHANGE), "both at once"),
        (rename(ROOT, "one", inner, "three", 0), "the second"),
        (rename(inner, "two", ROOT, "four", libc::RENAME_NOREPLACE), "the first"),
    ] {
        guest.get(&request);
        assert_eq!(sizes(), [1, 2], "{what} moved");
    }
    assert_eq!([guest.look_up(ROOT, "four"), guest.look_up(inner, "three")], nodes);
    assert_eq!(guest.errno(&rename(ROOT, "four", inner, "three", libc::RENAME_NOREPLACE)), libc::EEXIST);
}

#[test]
fn a_file_that_has_lost_its_place_is_kept_for_a_guest_that_has_it_open() {
    let directory = with_others("lost");
    for name in ["one", "two", "three"] {
        directory.write(name, name);
    }
    let guest = directory.served(FEW);
    let [one, two, three] = ["one", "two", "three"].map(|name| guest.look_up(ROOT, name));
    guest.get(&unlink(ROOT, "one"));
    guest.get(&rename(ROOT, "three", ROOT, "two", 0));
    look_at_others(&guest);
    assert_eq!([one, two, three].map(|node| long(&guest.get(&getattr(node)), 16 + 8)), [3, 3, 5]);
    assert_eq!(guest.look_up(ROOT, "two"), three);
    // Not for ever, nor for all: a guest that never forgets gets no more than a part of the descriptors.
    let known = guest.0.known_inodes();
    let others: Vec<_> = (0..40).map(|number| guest.look_up(ROOT, &format!("other {number}"))).collect();
    (0..40).for_each(|number| _ = guest.get(&unlink(ROOT, &format!("other {number}"))));
    let kept = others.iter().filter(|node| guest.errno(&getattr(**node)) == 0).count();
    assert_eq!((kept, guest.0.known_inodes()), (6, known - 40 + 6), "8 in all, of which two are taken");
}

#[test]
fn an_inode_that_has_another_link_is_neither_kept_nor_lost() {
    let directory = with_others("links");
    std::fs::create_dir(directory.path("elsewhere")).unwrap();
    for number in 0..10 {
        let first = directory.write(&format!("first {number}"), "");
        for name in ["second", "third", "elsewhere/first"] {
            std::fs::hard_link(&first, directory.path(&format!("{name} {number}"))).unwrap();
        }
        std::fs::create_dir(directory.path(&format!("inner {number}"))).unwrap();
    }
    let guest = directory.served(FEW);
    let known = || guest.0.known_inodes();
    let all = |what: &str| (0..10).map(|number| format!("{what} {number}")).collect::<Vec<_>>();
    let look_up = |what| all(what).iter().map(|name| guest.look_up(ROOT, name)).collect::<Vec<_>>();
    let remove_in = |parent, what, request: fn(u64, &str) -> Request| {
        for name in all(what) {
            guest.get(&request(parent, &name));
        }
    };
    let remove = |what, request| remove_in(ROOT, what, request);
    let elsewhere = guest.look_up(ROOT, "elsewhere");
    let firsts = look_up("first");
    remove("second", unlink);
    remove_in(elsewhere, "first", unlink);
    guest.get(&forget(elsewhere, 1));
    let others = look_up("other");
    remove("other", unlink);
    let kept = others.iter().filter(|node| guest.errno(&getattr(**node)) == 0).count();
    assert_eq!((kept, known()), (8, 10 + 8), "those that lost another link are not kept");
    // Now there is room for no more: a file without a place is lost, but not one that has one.
    remove("first", unlink);
    assert_eq!((known(), look_up("third")), (10 + 8, firsts));
    look_up("inner");
    remove("inner", rmdir);
    assert_eq!(known(), 10 + 8);
}

#[test]
fn a_place_that_has_another_file_now_is_stale() {
    let directory = with_others("stale");
    directory.write("file", "");
    std::fs::create_dir(directory.path("inner")).unwrap();
    directory.write("inner/deep", "");
    let guest = directory.served(FEW);
    let file = guest.look_up(ROOT, "file");
    let deep = guest.look_up(guest.look_up(ROOT, "inner"), "deep");
    look_at_others(&guest);
    assert_eq!([file, deep].map(|node| guest.errno(&getattr(node))), [0; 2]);
    look_at_others(&guest);
    std::fs::rename(directory.path("file"), directory.path("moved")).unwrap();
    std::fs::remove_dir_all(directory.path("inner")).unwrap();
    assert_eq!([file, deep].map(|node| guest.errno(&getattr(node))), [libc::ESTALE; 2]);
    directory.write("file", "another");
    directory.write("inner", "a file");
    assert_eq!([file, deep].map(|node| guest.errno(&getattr(node))), [libc::ESTALE; 2]);
    assert_ne!(guest.look_up(ROOT, "file"), file);
    assert_eq!(guest.look_up(ROOT, "moved"), file);
    assert_eq!(guest.errno(&getattr(file)), 0);
}

#[test]
fn a_directory_that_the_host_moves_out_of_the_share_leads_nowhere() {
    let directory = Directory::new("out");
    for (cache, errno) in [(Cache::Never, libc::ESTALE), (Cache::Always, 0)] {
        std::fs::create_dir_all(directory.path("share/inner/deep")).unwrap();
        let guest = directory.inner_served("share", Options { cache, ..OPTIONS });
        let inner = guest.look_up(ROOT, "inner");
        let deep = guest.look_up(inner, "deep");
        assert_eq!(guest.errno(&lookup(deep, "none")), libc::ENOENT, "the share is two steps above");
        std::fs::rename(directory.path("share/inner"), directory.path("outside")).unwrap();
        directory.write("outside/file", "");
        // A guest is told how long it may believe a name, and the server believes it for as long.
        let found = [lookup(inner, "file"), mkdir(inner, "made", 0o755, 0), opendir(inner), lookup(deep, "none")];
        let told = found.map(|request| guest.errno(&request));
        assert_eq!(told, [errno, errno, errno, if errno == 0 { libc::ENOENT } else { errno }], "{cache:?}");
        std::fs::remove_dir_all(directory.path("outside")).unwrap();
    }
}
