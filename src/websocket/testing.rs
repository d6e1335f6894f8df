//! What several tests of this folder share.

/// A small generator of pseudo-random numbers (xorshift64), the same ones in each run.
pub struct XorShift(u64);

impl XorShift {
    /// A generator whose numbers depend on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number in `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    /// Whether this coin shows heads.
    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// `length` bytes out of the first `alphabet` values, so that small alphabets compress well.
    pub fn bytes(&mut self, length: usize, alphabet: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.below(alphabet)).unwrap()).collect()
    }
}
