//! What keeps one greedy or hostile client from harming the others. [`slots`] lets each account have so
//! many uploads under way at once.
//!
//! Holds everything in memory that is bounded by the requests under way. Must not know a route or a status: a surface asks before
//! it reads a body, and says no in its own words.

pub mod slots;
