//! What can go wrong in a run, as the person who started it can act on it.

use std::io;
use std::time::Duration;

use hyper::StatusCode;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file, socket or process of this machine refused.
    #[error("{what}")]
    Io {
        /// What was being done, with the path or address.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or what came back was not HTTP.
    #[error("{what}: the exchange broke off")]
    Exchange {
        /// Method and path.
        what: String,
        /// The HTTP library's account.
        #[source]
        source: hyper::Error,
    },
    /// The registry answered with a status the workload does not expect.
    #[error("{what}: expected {expected}, got {status}: {body}")]
    Status {
        /// Method and path.
        what: String,
        /// The status the protocol asks for.
        expected: StatusCode,
        /// The status that came.
        status: StatusCode,
        /// The beginning of the answer's body.
        body: String,
    },
    /// The registry answered with the right status and the wrong content.
    #[error("{what}: {wrong}")]
    Content {
        /// Method and path.
        what: String,
        /// What is wrong about the answer.
        wrong: String,
    },
    /// A registry started by this run exited, or did not serve in time.
    #[error("{program} {why}; its log ends:\n{log}")]
    Start {
        /// The program's path.
        program: String,
        /// Exited or too late.
        why: String,
        /// The last lines it wrote.
        log: String,
    },
    /// The registry's URL is not one this program can drive.
    #[error("{url}: {why}")]
    Url {
        /// As given.
        url: String,
        /// What is expected.
        why: &'static str,
    },
    /// `https://` without a word about whom to trust.
    #[error("over https, --ca FILE or --insecure says whom to trust, one of the two")]
    NoTrust,
    /// A CA file without readable certificates.
    #[error("{path} has no readable certificates")]
    Pem {
        /// The file.
        path: String,
        /// The reader's account.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate cannot be trusted, or TLS cannot be set up.
    #[error("setting TLS up")]
    Tls(#[source] rustls::Error),
    /// No certificate could be made for the registries to start.
    #[error("making a certificate")]
    Certificate(#[source] rcgen::Error),
    /// A file below `/proc` does not read as expected.
    #[error("{path} has no readable {what}")]
    Proc {
        /// The file.
        path: String,
        /// The figure looked for.
        what: &'static str,
    },
    /// The results cannot be written as JSON, or read.
    #[error("{what}")]
    Json {
        /// Writing, or reading what.
        what: String,
        /// Where it went wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A record of made-up metadata cannot be written.
    #[error("writing metadata to import")]
    Format(#[source] pierhead_storage_format::FormatError),
    /// A part of a made-up audit trail cannot be written.
    #[error("writing an audit trail")]
    Trail(#[source] pierhead_storage_format::FormatError),
    /// A row of made-up metadata cannot be written.
    #[error("writing metadata to import")]
    Dump(#[source] pierhead_storage_format::dump::DumpError),
    /// The page that is to be written lacks the marks between which tables stand.
    #[error("{path} exists without the two lines between which tables are put: {begin} and {end}")]
    Marks {
        /// The page.
        path: String,
        /// The first mark.
        begin: &'static str,
        /// The second one.
        end: &'static str,
    },
    /// One workload took longer than any sound registry needs.
    #[error("{what} did not end within {} s", .limit.as_secs())]
    TooLong {
        /// Workload and subject.
        what: String,
        /// The limit it passed.
        limit: Duration,
    },
    /// A task of the load generator ended by a panic: a bug of this program.
    #[error("a task of the load generator failed")]
    Task(#[from] tokio::task::JoinError),
    /// The person at the terminal ended the run.
    #[error("interrupted; the registries this run had started are stopped")]
    Interrupted,
}

impl BenchError {
    /// For `map_err`: a system error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// For `map_err`: a broken exchange with method and path.
    pub fn exchange(what: impl Into<String>) -> impl FnOnce(hyper::Error) -> Self {
        let what = what.into();
        move |source| Self::Exchange { what, source }
    }

    /// For `map_err`: JSON that cannot be written or read.
    pub fn json(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        let what = what.into();
        move |source| Self::Json { what, source }
    }

    /// A right status with wrong content.
    pub fn content(what: impl Into<String>, wrong: impl Into<String>) -> Self {
        Self::Content { what: what.into(), wrong: wrong.into() }
    }
}
