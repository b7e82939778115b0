//! stub
/// r
pub struct Reserve;
/// f
#[derive(Debug)]
pub struct Full;
impl Reserve {
    /// a
    pub fn admits(&self, _: u64) -> Result<(), Full> {
        Ok(())
    }
}
