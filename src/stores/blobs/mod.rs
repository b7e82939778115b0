//! stub
use bytes::Bytes;
use pierhead_storage_format::{Algorithm, Digest};
/// e
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// a
    #[error("x")]
    NotFound,
    /// a
    #[error("x")]
    NoSpace,
    /// a
    #[error("x")]
    Damaged {
        /// d
        digest: Digest,
    },
    /// b
    #[error("x")]
    DigestMismatch {
        /// a
        actual: Digest,
    },
}
/// b
#[derive(Clone)]
pub struct Blobs;
/// u
pub struct Upload;
/// p
pub struct Published {
    /// s
    pub size: u64,
}
/// r
pub struct BlobReader;
/// r
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// m
    Mapped,
    /// b
    Buffered,
}
/// d
pub fn digest_of(_: Algorithm, _: &[u8]) -> Digest {
    unreachable!()
}
impl Blobs {
    /// x
    pub async fn begin(&self, _: Algorithm) -> Result<Upload, BlobError> {
        Ok(Upload)
    }
    /// x
    pub async fn publish_bytes(&self, _: &Digest, _: Bytes) -> Result<Published, BlobError> {
        Ok(Published { size: 0 })
    }
    /// x
    pub async fn size_on_disk(&self, _: &Digest) -> Result<Option<u64>, BlobError> {
        Ok(None)
    }
    /// x
    pub async fn quarantine(&self, _: &Digest) -> Result<(), BlobError> {
        Ok(())
    }
    /// x
    pub async fn read(
        &self,
        _: &Digest,
        _: u64,
        _: std::ops::Range<u64>,
        _: Reading,
    ) -> Result<BlobReader, BlobError> {
        Ok(BlobReader)
    }
    /// x
    pub async fn read_whole(&self, _: &Digest, _: u64) -> Result<Bytes, BlobError> {
        Ok(Bytes::new())
    }
}
impl Upload {
    /// x
    pub fn id(&self) -> &str {
        ""
    }
    /// x
    pub fn offset(&self) -> u64 {
        0
    }
    /// x
    pub async fn append(&mut self, _: Bytes) -> Result<(), BlobError> {
        Ok(())
    }
    /// x
    pub async fn settle(&mut self) -> Result<u64, BlobError> {
        Ok(0)
    }
    /// x
    pub async fn publish(&mut self, _: &Digest) -> Result<Published, BlobError> {
        Ok(Published { size: 0 })
    }
    /// x
    pub async fn discard(self) {}
}
impl Published {
    /// x
    pub async fn settled(self) {}
}
