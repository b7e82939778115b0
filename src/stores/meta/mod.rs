//! stub
use pierhead_storage_format::keys::TableKey;
/// e
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// a
    #[error("x")]
    NoSpace,
    /// b
    #[error("x")]
    Closed,
}
/// m
#[derive(Clone)]
pub struct Meta;
/// t
pub struct Tx<'a>(&'a ());
impl Meta {
    /// g
    pub fn get<K: TableKey>(&self, _: &K) -> Result<Option<K::Record>, MetaError> {
        Ok(None)
    }
    /// p
    pub fn page<K: TableKey>(
        &self,
        _: &[u8],
        _: Option<&[u8]>,
        _: usize,
    ) -> Result<Vec<(K, K::Record)>, MetaError> {
        Ok(Vec::new())
    }
    /// c
    pub async fn commit<T: Send + 'static, E: From<MetaError> + Send + 'static>(
        &self,
        f: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let mut tx = Tx(&());
        f(&mut tx)
    }
}
impl Tx<'_> {
    /// g
    pub fn get<K: TableKey>(&self, _: &K) -> Result<Option<K::Record>, MetaError> {
        Ok(None)
    }
    /// p
    pub fn page<K: TableKey>(
        &self,
        _: &[u8],
        _: Option<&[u8]>,
        _: usize,
    ) -> Result<Vec<(K, K::Record)>, MetaError> {
        Ok(Vec::new())
    }
    /// p
    pub fn put<K: TableKey>(&mut self, _: &K, _: &K::Record) -> Result<(), MetaError> {
        Ok(())
    }
    /// p
    pub fn delete<K: TableKey>(&mut self, _: &K) -> Result<(), MetaError> {
        Ok(())
    }
}
