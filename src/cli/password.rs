//! How passwords come in: from stdin, from a file, typed at a terminal that does not show them, or
//! made here. Never as arguments, where `ps` shows them.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Stdin, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Failure;
use crate::seams::OsRandom;
use crate::services::signin::access_key::AccessKey;

/// Bytes read of a file or of stdin; a password has far fewer.
const MOST: u64 = 4096;
/// Characters of one that is made: 142 random bits.
const MADE: usize = 24;

/// Where a password comes from.
#[derive(Debug, Args)]
pub struct PasswordFrom {
    /// Read the password from stdin: its first line
    #[arg(long, conflicts_with_all = ["password_file", "generate_password"])]
    password_stdin: bool,
    /// Read the password from this file: its first line
    #[arg(long, value_name = "FILE", conflicts_with = "generate_password")]
    password_file: Option<PathBuf>,
    /// Make a password and print it, once
    #[arg(long)]
    generate_password: bool,
}

/// A password, and whether it was made here and so must be shown.
pub struct Given {
    /// The password.
    pub text: String,
    /// It was made here.
    pub made: bool,
}

impl PasswordFrom {
    /// The password, if one was asked for.
    pub fn read(&self) -> Result<Option<Given>, Failure> {
        if self.generate_password {
            return generated().map(|text| Some(Given { text, made: true }));
        }
        let text = match &self.password_file {
            Some(path) => from_file(path)?,
            None if self.password_stdin => first_line(io::stdin(), "stdin")?,
            None => return Ok(None),
        };
        Ok(Some(Given { text, made: false }))
    }

    /// The password, typed at the terminal if nothing else was asked for.
    pub fn read_or_ask(&self, whose: &str) -> Result<Given, Failure> {
        if let Some(given) = self.read()? {
            return Ok(given);
        }
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Err(Failure::Usage(
                "say where the password comes from: --password-stdin, --password-file or --generate-password"
                    .to_owned(),
            ));
        }
        let text = typed(&stdin, &format!("Password of {whose}: "))?;
        if typed(&stdin, "The same again: ")? != text {
            return Err(Failure::Usage("the two are not the same; nothing was done".to_owned()));
        }
        Ok(Given { text, made: false })
    }
}

fn generated() -> Result<String, Failure> {
    let none = |source| Failure::Io { what: "the host gives no random bytes".to_owned(), source };
    let made = AccessKey::make(&OsRandom).map_err(none)?.secret;
    Ok(made.expose_text().unwrap_or_default().chars().take(MADE).collect())
}

fn from_file(path: &Path) -> Result<String, Failure> {
    let what = path.display().to_string();
    let file = File::open(path).map_err(|source| Failure::Io { what: what.clone(), source })?;
    first_line(file, &what)
}

fn first_line(from: impl Read, what: &str) -> Result<String, Failure> {
    let unread = |source| Failure::Io { what: format!("cannot read the password from {what}"), source };
    let mut bytes = Vec::new();
    from.take(MOST).read_to_end(&mut bytes).map_err(unread)?;
    let text = String::from_utf8(bytes).map_err(|_| unread(io::ErrorKind::InvalidData.into()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::Usage(format!("there is no password in {what}"))),
    }
}

/// The terminal as it was, when this is dropped.
struct Unechoed<'a>(&'a Stdin, Termios);

impl Drop for Unechoed<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(self.0, OptionalActions::Flush, &self.1);
    }
}

fn typed(stdin: &Stdin, ask: &str) -> Result<String, Failure> {
    let failed = |source| Failure::Io { what: "cannot read from the terminal".to_owned(), source };
    let before = tcgetattr(stdin).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let mut stderr = io::stderr();
    let _ = write!(stderr, "{ask}").and_then(|()| stderr.flush());
    let mut line = String::new();
    {
        let _unechoed = Unechoed(stdin, before);
        tcsetattr(stdin, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
        stdin.lock().take(MOST).read_line(&mut line).map_err(failed)?;
    }
    let _ = writeln!(stderr);
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_and_nothing_is_none() {
        let rows =
            [("p w\n", Some("p w")), ("p\r\nq\n", Some("p")), ("p", Some("p")), ("", None), ("\np", None)];
        for (text, expected) in rows {
            assert_eq!(first_line(text.as_bytes(), "x").ok().as_deref(), expected, "{text:?}");
        }
        assert!(first_line(&[0xff_u8][..], "x").is_err());
    }

    #[test]
    fn a_password_that_is_made_is_long_and_never_the_same() {
        let (one, other) = (generated().expect("made"), generated().expect("made"));
        assert!(one.len() == MADE && one != other);
    }
}
