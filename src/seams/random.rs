//! Randomness.

use std::io;

/// Gives bytes nobody can guess.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// 128 random bits as 32 lower-case hex digits: upload and request ids.
    fn id(&self) -> io::Result<String> {
        let mut raw = [0; 16];
        self.fill(&mut raw)?;
        Ok(format!("{:032x}", u128::from_be_bytes(raw)))
    }
}

/// The kernel's generator.
#[derive(Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(())
    }
}

/// Counts instead.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct TestRandom(std::sync::atomic::AtomicU64);

#[cfg(test)]
impl Random for TestRandom {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let next = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        bytes.fill(0);
        for (byte, value) in bytes.iter_mut().rev().zip(next.to_le_bytes()) {
            *byte = value;
        }
        Ok(())
    }
}
