//! A start.
fn main() {}
