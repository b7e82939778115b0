//! Pierhead: a container-image registry appliance. This file starts the command line; it decides
//! nothing. Reading order: `wiring` (what is put together), `api/registry` (what is asked),
//! `services` (the rules), `stores` (where it rests).

mod api;
mod authority;
mod causes;
mod cli;
mod config;
mod doctor;
mod jobs;
mod needs;
mod seams;
mod server;
mod services;
mod stores;
mod version;
mod wiring;
mod x509;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
