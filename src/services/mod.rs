//! The domain: the rules, limits and messages of a registry, one folder or file a capability.
//! Must name neither HTTP nor the index engine, nor anything of api or server.

pub mod fsck;
