//! What the guest of the file server's own tests takes for random numbers: the fuzzer's bytes, so that the fuzzer decides
//! what the guest does.

pub(super) struct Random {
    /// The next last.
    bytes: Vec<u8>,
}

impl Random {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.iter().rev().copied().collect() }
    }

    /// Whether no more bytes are left: then every number is 0.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn next(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    /// Under `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let low = usize::from(self.byte());
        let number = if end > 256 { low | usize::from(self.byte()) << 8 } else { low };
        number % end
    }

    /// True one time in so many.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1 // not 0, which is all that is left at the end
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(super) fn word(&mut self) -> u32 {
        u32::from_le_bytes([(); 4].map(|()| self.byte()))
    }

    fn byte(&mut self) -> u8 {
        self.bytes.pop().unwrap_or(0)
    }
}
