//! The command line.

mod measure;
mod output;
mod render;

use clap::{Parser, Subcommand};

use crate::error::BenchError;

/// Load against registries, and side-by-side runs of Pierhead and a peer
#[derive(Debug, Parser)]
#[command(name = "pierhead-bench", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure registries: a table on stdout, progress on stderr
    ///
    /// Example: pierhead-bench run --workload manifest-get,push --tls-workload pull --json run.json
    Run(Box<measure::Run>),
    /// Render the result of an earlier run
    ///
    /// Example: pierhead-bench render --from run.json --svg docs/performance.svg --markdown docs/performance.md
    Render(render::Render),
}

impl Arguments {
    /// Does what was asked.
    pub fn execute(self) -> Result<(), BenchError> {
        match self.command {
            Command::Run(run) => run.execute(),
            Command::Render(render) => render.execute(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
