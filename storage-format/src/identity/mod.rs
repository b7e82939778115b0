//! Who there is and what they may do: keys and records of accounts, users, groups, policies,
//! credentials, grants and shares. No row here holds a secret that can be used as it stands:
//! passwords and temporary keys are hashed, secret keys are sealed under the host's key file.

mod id;
pub mod keys;
pub mod limits;
pub mod records;

pub use id::Id;
