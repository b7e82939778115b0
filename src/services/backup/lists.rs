//! The lists of points, a line at a time; several of them in order, as one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use pierhead_storage_format::Digest;
use pierhead_storage_format::backup::list::{MAX_LINE, parse_blob};

use crate::stores::disk::Disk;

/// The lines of a list.
pub(super) struct Lines(BufReader<File>);

impl Lines {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self(BufReader::new(disk.open_read(path)?)))
    }

    /// The next line, without its newline.
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        self.0.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        text.map(|text| Some(text.to_owned())).ok_or_else(|| damaged("a line of a list does not end"))
    }

    /// The next blob.
    pub(super) fn blob(&mut self) -> io::Result<Option<(Digest, u64)>> {
        let Some(line) = self.next()? else { return Ok(None) };
        parse_blob(&line).map(Some).ok_or_else(|| damaged("a line of a list of blobs does not hold"))
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The blobs of several lists, each once, in the order of digests.
pub(super) struct Merged {
    lists: Vec<(Lines, Option<(Digest, u64)>)>,
}

impl Merged {
    pub(super) fn new(lists: Vec<Lines>) -> io::Result<Self> {
        let mut merged = Vec::with_capacity(lists.len());
        for mut lines in lists {
            let first = lines.blob()?;
            merged.push((lines, first));
        }
        Ok(Self { lists: merged })
    }

    /// The next one, without taking it.
    pub(super) fn peek(&self) -> Option<(Digest, u64)> {
        self.lists.iter().filter_map(|(_, next)| *next).min_by_key(|(digest, _)| *digest)
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Digest, u64)>> {
        let Some(lowest) = self.peek() else { return Ok(None) };
        for (lines, next) in &mut self.lists {
            if next.is_some_and(|(digest, _)| digest == lowest.0) {
                *next = lines.blob()?;
                if next.is_some_and(|(digest, _)| digest <= lowest.0) {
                    return Err(damaged("a list of blobs is not in order"));
                }
            }
        }
        Ok(Some(lowest))
    }
}
