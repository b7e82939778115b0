//! `pierhead generate`: manual pages and shell completions, made from the command line itself when a
//! package is built, so that they never say anything else than `--help`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory, Subcommand};
use clap_complete::Shell;

use super::Failure;
use super::arguments::Arguments;

#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Write the manual pages, section 1
    Man(Into),
    /// Write completions for bash, zsh and fish
    Completions(Into),
}

#[derive(Debug, Args)]
pub struct Into {
    /// Folder, made if there is none
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub fn run(command: GenerateCommand) -> Result<(), Failure> {
    let (Into { folder }, write): (_, fn(Command, &Path) -> io::Result<()>) = match command {
        GenerateCommand::Man(into) => (into, pages),
        GenerateCommand::Completions(into) => (into, completions),
    };
    let what = format!("cannot write to {}", folder.display());
    let written = fs::create_dir_all(&folder).and_then(|()| write(Arguments::command(), &folder));
    written.map_err(|source| Failure::Io { what, source })
}

fn pages(command: Command, folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(command.disable_help_subcommand(true), folder)
}

fn completions(mut command: Command, folder: &Path) -> io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "pierhead", folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        for command in [GenerateCommand::Man, GenerateCommand::Completions] {
            run(command(Into { folder: folder.path().join("made") })).unwrap();
        }
        let made = |name: &str| fs::read_to_string(folder.path().join("made").join(name)).unwrap();
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let page = made(&format!("pierhead-{}.1", command.get_name()));
            assert!(page.contains(".TH"), "{}", command.get_name());
            assert!(made("pierhead.bash").contains(command.get_name()));
        }
        assert!(made("pierhead.1").contains("appliance"));
        assert!(!made("_pierhead").is_empty() && !made("pierhead.fish").is_empty());
        assert!(!folder.path().join("made/pierhead-generate.1").exists());
    }
}
