//! Seeded randomness (SplitMix64), so that a failure comes back: `PIERHEAD_TEST_SEED=n` sets the
//! seed. Against a registry of somebody else's, which remembers earlier runs, the default differs
//! in each run; against our own, which starts empty, it is constant.

pub struct Rng(u64);

impl Rng {
    /// A sequence of its own for each `name` (the test's), the same in each run.
    pub fn named(name: &str) -> Self {
        let mut state = base_seed();
        for byte in name.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(state)
    }

    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(length + 8);
        while out.len() < length {
            out.extend_from_slice(&self.number().to_le_bytes());
        }
        out.truncate(length);
        out
    }
}

fn base_seed() -> u64 {
    let chosen = std::env::var("PIERHEAD_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let fallback = if super::server::external().is_some() {
        u64::from(std::process::id())
    } else {
        0xcbf2_9ce4_8422_2325
    };
    chosen.unwrap_or(fallback)
}
