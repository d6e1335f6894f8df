//! Choices out of the bytes of an input.

/// What is left of an input. When it is used up, every choice is 0.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// At most `length` bytes.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left, cut into pieces whose sizes follow from `seed`: 0 gives single bytes.
    pub fn pieces(self, seed: u8) -> Vec<&'a [u8]> {
        let mut state = u32::from(seed);
        let mut rest = self;
        let mut pieces = Vec::new();
        while !rest.0.is_empty() {
            // Any numbers do, as long as they differ; these are those of a linear congruential generator.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let length = if seed == 0 { 1 } else { (state >> 24) as usize % (usize::from(seed) + 1) + 1 };
            pieces.push(rest.take(length));
        }
        pieces
    }
}
