//! The surfaces of the network on a real store, with a clock that stands where a test sets it, and with
//! the services at hand: what a right that was taken away does to the next request, at any moment.

mod catalogue;
mod collecting;
mod collecting_model;
mod guarded;
mod house;
mod iam;
mod immutable;
mod pulls;
mod pushes;
mod quotas;
mod removal;
mod retention;
mod sessions;
mod tokens;
mod trail;
mod undoing;
mod walk;
