//! What a device is to be like, and what its driver reads of that.

use daxmap_core::DAX_RANGE;
use std::error::Error;
use std::fmt;

/// The longest tag, in bytes: `struct virtio_fs_config` (VIRTIO 1.3, 5.11.4).
const TAG: usize = 36;
/// The size of `struct virtio_fs_config`, without what only a notification queue needs.
const CONFIG: usize = 40;
/// One queue of high priority, and one of requests a thread; queues are bits of a u64.
const MOST_THREADS: u32 = 63;

/// What a device is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the guest mounts it by.
    pub tag: String,
    /// The window's size in bytes; `None` for no window.
    pub window: Option<u64>,
    /// How many request queues there are, each with a thread of its own.
    pub threads: u32,
    /// Nothing is ever written.
    pub readonly: bool,
}

/// A value that no device can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting(String);

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadSetting {}

impl Settings {
    /// Checks the values.
    ///
    /// # Errors
    /// The first that is bad.
    pub fn check(&self) -> Result<(), BadSetting> {
        let bad = |text: String| Err(BadSetting(text));
        if self.tag.is_empty() || self.tag.len() > TAG || self.tag.contains('\0') {
            return bad(format!("the tag {:?} has not 1 to {TAG} bytes that are no NUL", self.tag));
        }
        // QEMU aborts where a window is no power of two (`pci_register_bar`).
        if let Some(window) = self.window
            && (window < DAX_RANGE || !window.is_power_of_two())
        {
            return bad(format!("the window's {window} bytes are no power of two from {DAX_RANGE} on"));
        }
        if !(1..=MOST_THREADS).contains(&self.threads) {
            return bad(format!("{} threads are not 1 to {MOST_THREADS}", self.threads));
        }
        Ok(())
    }

    /// How many queues there are.
    #[must_use]
    pub fn queues(&self) -> usize {
        (self.threads as usize).saturating_add(1)
    }

    /// The queues of each thread, a bit each: the one of high priority has a thread of its own, so that a guest can interrupt.
    pub(crate) fn queues_of_threads(&self) -> Vec<u64> {
        (0..=self.threads).map(|queue| 1_u64.checked_shl(queue).unwrap_or(0)).collect()
    }

    /// A part of `struct virtio_fs_config`, and zeros past its end.
    pub(crate) fn config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut config = self.tag.clone().into_bytes();
        config.resize(TAG, 0);
        config.extend(self.threads.to_le_bytes());
        debug_assert_eq!(config.len(), CONFIG);
        config.into_iter().chain(std::iter::repeat(0)).skip(offset as usize).take(size as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { tag: "share".to_owned(), window: Some(4 << 20), threads: 3, readonly: false }
    }

    #[test]
    fn bad_values_are_named() {
        assert_eq!(settings().check(), Ok(()));
        assert_eq!(Settings { window: None, ..settings() }.check(), Ok(()));
        assert_eq!(Settings { window: Some(2 << 20), tag: "x".repeat(36), threads: 63, ..settings() }.check(), Ok(()));
        for window in [0, 4096, 3 << 20, (4 << 20) + 1, u64::MAX] {
            let bad = Settings { window: Some(window), ..settings() }.check().unwrap_err();
            assert!(bad.to_string().contains("power of two"), "{bad}");
        }
        for tag in [String::new(), "x".repeat(37), "a\0b".to_owned()] {
            assert!(Settings { tag, ..settings() }.check().unwrap_err().to_string().contains("tag"));
        }
        for threads in [0, 64] {
            assert!(Settings { threads, ..settings() }.check().unwrap_err().to_string().contains("threads"));
        }
    }

    #[test]
    fn config_is_that_of_virtio() {
        let config = settings().config(0, 40);
        assert_eq!(&config[..8], b"share\0\0\0");
        assert_eq!(&config[36..], [3, 0, 0, 0]);
        assert_eq!(settings().config(36, 8), [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(settings().config(u32::MAX, 2), [0, 0]);
        assert_eq!(settings().queues_of_threads(), [1, 2, 4, 8]);
    }
}
