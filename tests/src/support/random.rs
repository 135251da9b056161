//! Randomness that can be repeated.

use uuid::Uuid;

/// Numbers that depend on a seed only (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to before another one.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of so many.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }

    /// Others, for somebody who takes theirs at times of their own.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.number())
    }
}

/// What the randomness of a test begins with: something new, unless `SWITCHBOARD_TEST_SEED` repeats what was before.
pub(crate) fn seed() -> u64 {
    match std::env::var("SWITCHBOARD_TEST_SEED") {
        Ok(seed) => seed.parse().expect("SWITCHBOARD_TEST_SEED must be a number"),
        Err(_) => Uuid::now_v7().as_u64_pair().1,
    }
}
