//! How much: a few rounds by default and in CI, all of them with `PIERHEAD_FULL=1`.

/// Whether the full size was asked for.
pub fn full() -> bool {
    std::env::var("PIERHEAD_FULL").as_deref() == Ok("1")
}

/// `PIERHEAD_ROUNDS=n` if set, else the size in use.
pub fn rounds(ci: usize, full_size: usize) -> usize {
    let asked = std::env::var("PIERHEAD_ROUNDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if full() { full_size } else { ci })
}

/// `PIERHEAD_TEST_SEED=n` if set, else always the same. Printed by whoever uses it.
pub fn seed() -> u64 {
    std::env::var("PIERHEAD_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_121)
}

/// Says how far a long test is; seen with `--nocapture` or on failure.
pub fn note(text: &str) {
    eprintln!("{text}");
}
