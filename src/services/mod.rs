//! The domain: the rules, limits and messages of the product, each once, whichever surface asks.
//! A service takes a [`access::Permit`] for what it does, does it, and answers with a domain value
//! or an [`error::Error`]. Must not name HTTP types, the index engine, `api` or `server`.
//!
//! Start at [`images`] (manifests, tags, blobs), then [`uploads`]; [`signin`] tells what credentials
//! prove, [`access`] decides who may;
//! [`counters`] counts what is pulled and pushed; [`retention`] removes versions by itself; [`triggers`] and [`sync`] have
//! rules and no engine yet;
//! [`quota`] says how much may be held;
//! [`collector`] removes what nothing needs, but for what [`leases`] say somebody counts on;
//! [`audit`] records what was done; [`appliance`] says how everything is, [`fsck`] proves that metadata and blobs agree,
//! [`maintenance`] offers that to an administrator, [`backup`] makes backups and stores of them, [`scrub`]
//! reads every blob again.
//! [`guard`] keeps one client from harming the others, by [`rates`] and bans.

pub mod access;
pub mod appliance;
pub mod audit;
pub mod backup;
pub mod collector;
pub mod counters;
pub mod error;
pub mod fsck;
pub mod guard;
pub mod identity;
pub mod images;
pub mod leases;
pub mod maintenance;
pub mod names;
pub mod network;
pub mod object;
pub mod organisations;
pub mod patterns;
pub mod quota;
pub mod rates;
pub mod retention;
pub mod scrub;
pub mod signin;
pub mod sync;
pub mod triggers;
pub mod uploads;
