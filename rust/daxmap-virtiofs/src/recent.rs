//! A bounded number of descriptors, of which those used last are kept.

use std::collections::HashMap;
use std::hash::Hash;

/// Descriptors by key. Two generations: what is used moves to the young one, and when that is full, the old one is
/// dropped and the young one becomes old. So each use costs the same, however many there are.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The most that either generation has.
    half: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// At most `most` descriptors, two or more.
    pub(crate) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (most / 2).max(1) }
    }

    pub(crate) fn get(&mut self, key: K) -> Option<V> {
        if let Some(found) = self.young.get(&key) {
            return Some(found.clone());
        }
        let found = self.old.remove(&key)?;
        self.put(key, found.clone());
        Some(found)
    }

    pub(crate) fn put(&mut self, key: K, descriptor: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, descriptor);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::OwnedFd;
    use std::sync::Arc;

    fn file() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn those_used_last_are_kept_and_no_more_than_allowed() {
        let mut recent = Recent::new(8);
        let first = file();
        recent.put(0, Arc::clone(&first));
        for key in 1..100 {
            recent.put(key, file());
            assert!(recent.young.len() + recent.old.len() <= 8);
            assert!(recent.get(0).is_some_and(|kept| Arc::ptr_eq(&kept, &first)), "it is used all the time");
        }
        assert!(recent.get(99).is_some() && recent.get(98).is_some());
        assert!(recent.get(50).is_none());
        recent.remove(&0);
        assert!(recent.get(0).is_none());
        recent.put(0, Arc::clone(&first));
        recent.clear();
        assert_eq!(Arc::strong_count(&first), 1);
    }
}
