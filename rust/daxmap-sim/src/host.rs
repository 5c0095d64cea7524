//! What the host does with the files of its share meanwhile.

use crate::disk::{Disk, LARGEST, NAMES, Name, WORD};
use crate::rng::Rng;
use crate::scenario::Action;
use std::fs;
use std::os::unix::fs::FileExt;

pub(crate) fn any_name(rng: &mut Rng) -> Name {
    Name { directory: rng.index(2), number: rng.below(NAMES) }
}

/// A size or an offset: small, around the ends of pages and ranges, or anything.
pub(crate) fn any_size(rng: &mut Rng) -> u64 {
    let range = daxmap_core::DAX_RANGE * rng.below(5);
    let near = [0, 8, 4088, 4096, 4104, 3 * 4096];
    let size = match rng.below(4) {
        0 => rng.pick(&near),
        1 => range + rng.pick(&near),
        2 => range.saturating_sub(rng.pick(&near)),
        _ => rng.below(LARGEST / WORD) * WORD,
    };
    size.min(LARGEST)
}

/// Does it, and says what.
pub(crate) fn act(disk: &mut Disk, action: Action, rng: &mut Rng) -> String {
    let name = any_name(rng);
    let there = disk.names.get(&name).copied();
    match (action, there) {
        (Action::HostCreates, None) => {
            match disk.twin() {
                Some(twin) => fs::rename(twin, disk.path(name)).unwrap(),
                None => _ = fs::File::create_new(disk.path(name)).unwrap(),
            }
            let key = disk.made(name);
            let size = any_size(rng);
            disk.open(key).set_len(size).unwrap();
            disk.resized(key, size);
            format!("makes {name:?}, file {key}, of {size:#x} bytes")
        }
        (Action::HostWrites, Some(key)) => {
            let (offset, word) = (any_size(rng), disk.new_word());
            disk.open(key).write_all_at(&word.to_le_bytes(), offset).unwrap();
            disk.wrote(key, offset, &[word]);
            format!("writes to file {key} at {offset:#x}")
        }
        (Action::HostTruncates, Some(key)) => {
            let size = any_size(rng);
            disk.open(key).set_len(size).unwrap();
            disk.resized(key, size);
            format!("makes file {key} {size:#x} bytes long")
        }
        (Action::HostUnlinks, Some(key)) => {
            fs::remove_file(disk.path(name)).unwrap();
            disk.names.remove(&name);
            format!("removes {name:?}, file {key}")
        }
        (Action::HostRenames, Some(key)) => {
            let to = any_name(rng);
            fs::rename(disk.path(name), disk.path(to)).unwrap();
            // Of two names of one file, rename(2) leaves both.
            if disk.names.get(&to) != Some(&key) {
                disk.names.remove(&name);
                disk.names.insert(to, key);
            }
            format!("renames {name:?}, file {key}, to {to:?}")
        }
        _ => format!("finds nothing to do: {action:?} {name:?}"),
    }
}
