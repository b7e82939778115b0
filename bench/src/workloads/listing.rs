//! Lists by pages, shared by `tags` and `catalog`. The claim under test: a page costs what a page holds, however
//! many entries there are and wherever it begins. So a page is measured while the list has no more than one page,
//! then, after it has grown, at its start, middle and end.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Deserialize;

use super::{Bench, Sample};
use crate::call::Call;
use crate::client::Connection;
use crate::error::BenchError;
use crate::load::{Operation, Until};
use crate::payload::Payload;
use crate::protocol;

const PAGE: u64 = 100;
/// The largest page the peer gives.
const LARGE_PAGE: u64 = 1000;
const CONNECTIONS_TO_FILL: usize = 16;

/// A list that is to be measured.
pub struct Listing {
    /// The path it is read from, without a query.
    pub path: String,
    /// What comes before the number in an entry's name.
    pub prefix: String,
    /// How many entries it gets.
    pub entries: u64,
    /// What an entry is called in the plural.
    pub noun: &'static str,
}

impl Listing {
    /// The name of an entry; names sort as numbers do.
    pub fn entry(&self, number: u64) -> String {
        format!("{}{number:07}", self.prefix)
    }

    /// Measures the list; `add` makes the entry of a number.
    pub async fn run<A: Add>(self, bench: &Bench, add: A) -> Result<Vec<Sample>, BenchError> {
        let (entries, noun) = (self.entries, self.noun);
        let first = PAGE.min(entries);
        let filler = Arc::new(Fill { listing: self, add, from: 0 });
        bench.fill(&filler, first).await?;
        let Some(filler) = Arc::into_inner(filler) else { return Ok(Vec::new()) };
        let mut samples =
            vec![page(bench, &filler.listing, format!("page of {PAGE}, of {first} {noun}"), None).await?];

        let filler = Arc::new(Fill { from: first, ..filler });
        let rest = Until::Count(entries - first);
        let case = format!("making {} more {noun}, {CONNECTIONS_TO_FILL} connections", entries - first);
        samples.push(bench.measure(case, &filler, CONNECTIONS_TO_FILL, rest, 0).await?);

        let listing = &filler.listing;
        let end = entries.checked_sub(PAGE + 1);
        for (place, after) in [("start", None), ("middle", Some(entries / 2)), ("end", end)] {
            let case = format!("page of {PAGE}, of {entries} {noun}, {place}");
            samples.push(page(bench, listing, case, after).await?);
        }
        samples.push(whole(bench, listing).await?);
        Ok(samples)
    }
}

/// Makes one entry of a list.
pub trait Add: Send + Sync + 'static {
    /// Makes it over this connection.
    fn add(
        &self,
        connection: &mut Connection,
        name: &str,
    ) -> impl Future<Output = Result<(), BenchError>> + Send;
}

struct Fill<A> {
    listing: Listing,
    add: A,
    from: u64,
}

impl<A: Add> Operation for Fill<A> {
    async fn run(&self, connection: &mut Connection, turn: u64) -> Result<(), BenchError> {
        self.add.add(connection, &self.listing.entry(self.from + turn)).await
    }
}

async fn page(
    bench: &Bench,
    listing: &Listing,
    case: String,
    after: Option<u64>,
) -> Result<Sample, BenchError> {
    let last = after.map(|number| format!("&last={}", listing.entry(number))).unwrap_or_default();
    let call = Call::get(&format!("{}?n={PAGE}{last}", listing.path))?;
    let (names, length) = {
        let reply = Connection::new(&bench.target).ask(&call, Payload::EMPTY, StatusCode::OK).await?;
        (entries(&call, &reply.body)?, reply.body.len())
    };
    check_page(listing, &call, after, &names)?;
    let operation = Arc::new(Page { call, length });
    let sample = bench.measure(case, &operation, 1, bench.short_span(), 0).await?;
    Ok(sample.fact("entries", names.len() as f64))
}

/// A page has the names that follow. The peer ignores `n` and `last` for tags and answers with all of them: more
/// than a page is let pass, and shows as a fact of the sample.
fn check_page(
    listing: &Listing,
    call: &Call,
    after: Option<u64>,
    names: &[String],
) -> Result<(), BenchError> {
    let wrong = |wrong: String| Err(BenchError::content(call.what(), wrong));
    let expected = PAGE.min(listing.entries.saturating_sub(after.map_or(0, |number| number + 1)));
    if (names.len() as u64) < expected.min(listing.entries) {
        return wrong(format!("{} entries instead of {expected}", names.len()));
    }
    match (after, names.first()) {
        (Some(number), Some(first)) if names.len() as u64 <= PAGE && *first != listing.entry(number + 1) => {
            wrong(format!("the page begins with {first} instead of {}", listing.entry(number + 1)))
        }
        _ => Ok(()),
    }
}

async fn whole(bench: &Bench, listing: &Listing) -> Result<Sample, BenchError> {
    let first = Call::get(&format!("{}?n={LARGE_PAGE}", listing.path))?;
    let operation = Arc::new(Whole { first, entries: listing.entries });
    let case = format!("all {} {}, by pages of {LARGE_PAGE}", listing.entries, listing.noun);
    bench.measure(case, &operation, 1, bench.short_span(), 0).await
}

struct Page {
    call: Call,
    length: usize,
}

impl Operation for Page {
    async fn run(&self, connection: &mut Connection, _: u64) -> Result<(), BenchError> {
        let reply = connection.ask(&self.call, Payload::EMPTY, StatusCode::OK).await?;
        if reply.body.len() == self.length {
            return Ok(());
        }
        Err(BenchError::content(self.call.what(), "another length than the first time"))
    }
}

struct Whole {
    first: Call,
    entries: u64,
}

impl Operation for Whole {
    async fn run(&self, connection: &mut Connection, _: u64) -> Result<(), BenchError> {
        let mut call = self.first.clone();
        let mut seen = 0;
        loop {
            let reply = connection.ask(&call, Payload::EMPTY, StatusCode::OK).await?;
            let names = entries(&call, &reply.body)?.len() as u64;
            seen += names;
            match protocol::next_page(&reply).filter(|_| names > 0) {
                Some(path) => call = Call::get(&path)?,
                None if seen >= self.entries => return Ok(()),
                None => {
                    let wrong = format!("{seen} entries in all instead of {}", self.entries);
                    return Err(BenchError::content(self.first.what(), wrong));
                }
            }
        }
    }
}

fn entries(call: &Call, body: &[u8]) -> Result<Vec<String>, BenchError> {
    #[derive(Deserialize)]
    struct Entries {
        #[serde(alias = "repositories")]
        tags: Option<Vec<String>>,
    }
    let read: Entries = serde_json::from_slice(body)
        .map_err(|error| BenchError::content(call.what(), format!("not a list: {error}")))?;
    Ok(read.tags.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listing: &Listing, range: std::ops::Range<u64>) -> Vec<String> {
        range.map(|number| listing.entry(number)).collect()
    }

    #[test]
    fn a_page_must_hold_the_names_that_follow() {
        let listing = Listing { path: "/x".to_owned(), prefix: "t".to_owned(), entries: 1000, noun: "tags" };
        let table = [
            ("start", None, 0..100, true),
            ("middle", Some(500), 501..601, true),
            ("end", Some(899), 900..1000, true),
            ("a short rest", Some(990), 991..1000, true),
            ("all of them at once", Some(500), 0..1000, true),
            ("the last one again", Some(500), 500..600, false),
            ("one missing", Some(500), 501..600, false),
            ("nothing", None, 0..0, false),
        ];
        let call = Call::get("/x").expect("this is a path");
        for (row, after, range, right) in table {
            let names = names(&listing, range);
            assert_eq!(check_page(&listing, &call, after, &names).is_ok(), right, "{row}");
        }
    }

    #[test]
    fn entries_are_read_from_either_list() {
        let call = Call::get("/x").expect("this is a path");
        let table = [
            ("tags", r#"{"name":"a/b","tags":["x","y"]}"#, Some(2)),
            ("repositories", r#"{"repositories":["a/b"]}"#, Some(1)),
            ("null", r#"{"name":"a/b","tags":null}"#, Some(0)),
            ("an error", r#"{"errors":[]}"#, Some(0)),
            ("cut", r#"{"tags":["x""#, None),
        ];
        for (row, body, expected) in table {
            assert_eq!(entries(&call, body.as_bytes()).ok().map(|names| names.len()), expected, "{row}");
        }
    }
}
