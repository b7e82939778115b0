//! Pierhead: a container-image registry appliance. This file wires the rooms; it decides nothing.
//! Reading order: `api/registry` (what is asked), `services` (the rules), `stores` (where it rests).
#![allow(dead_code, unused_imports)] // until every room is wired

mod seams;
mod services;
mod stores;

fn main() {}
