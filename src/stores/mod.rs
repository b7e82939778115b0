//! Where bytes rest. `disk` is the data directory as a seam; `blobs` keeps content-addressed
//! files; `meta` keeps rows; `authority` keeps the files of the appliance's own CA, `secrets` seals
//! what rows may not show; `space` keeps some of the disk back; `trail` keeps the audit trail. Must not know who the caller is, nor
//! name anything of services, api or server.

pub mod authority;
pub mod blobs;
pub mod disk;
pub mod lock;
pub mod meta;

pub mod secrets;
pub mod space;
pub mod trail;
