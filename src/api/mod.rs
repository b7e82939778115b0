//! One folder or file a public surface: parse, authorise, call one service, render.
//! Must not name a store. `body` holds what all surfaces share.

pub mod body;
pub mod health;
pub mod metrics;
pub mod registry;
