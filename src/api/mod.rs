//! One folder or file a public surface: parse, authorise, call one service, render.
//! Must not name a store.

pub mod admin;
pub mod health;
mod kinds;
pub mod metrics;
pub mod registry;
pub mod trust;
