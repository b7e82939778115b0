//! The surfaces of the network on a real store, with a clock that stands where a test sets it, and with
//! the services at hand: what a right that was taken away does to the next request, at any moment.

mod catalogue;
mod collecting;
mod collecting_faults;
mod collecting_model;
mod guarded;
mod holding_up;
mod house;
mod iam;
mod immutable;
mod leftovers;
mod pulls;
mod pushes;
mod quotas;
mod removal;
mod retention;
mod scrubbing;
mod sessions;
mod tokens;
mod trail;
mod undoing;
mod walk;
