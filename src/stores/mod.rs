//! Where bytes rest. `disk` is the data directory as a seam; `blobs` keeps content-addressed
//! files; `meta` keeps rows; `space` keeps some of the disk back; `secrets` seals what rows may not
//! show. Must not know who the caller is, nor name anything of services, api or server.

pub mod blobs;
pub mod disk;
pub mod lock;
pub mod meta;
#[cfg_attr(not(test), expect(dead_code, reason = "wired next"))]
pub mod secrets;
pub mod space;
