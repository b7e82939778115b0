//! What every surface's refusals have in common: a table from kind to status, code and message, a fact that
//! the message has a place for, headers, and a cause. Each surface has a table of its own, which a golden
//! file holds, and its own body.
//!
//! E1: a cause is for the log, never for the client; a fact is for the client, never for the log: it may be
//! of the body.
//! E2: what a client may have written, and written long, is told and logged shortened.

use hyper::StatusCode;
use hyper::header::HeaderName;
use serde_json::Value;

use crate::causes;
use crate::services::error::Error;

/// Characters of a fact or cause that are told at most.
const MAX_FACT: usize = 500;

/// A row of a surface's table.
pub trait Row: Copy {
    /// Status, code and message; `{}` in the message stands for the fact.
    fn row(self) -> (StatusCode, &'static str, &'static str);
}

/// Makes `Kind` from its rows; `{}` in a message stands for a fact.
macro_rules! kinds {
    ($($kind:ident = $status:ident $code:literal $message:literal;)*) => {
        /// What went wrong, as this surface tells it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $message] $kind,)*
        }

        impl Kind {
            /// Every kind.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Status, code and message.
            pub const fn row(self) -> (hyper::StatusCode, &'static str, &'static str) {
                match self {
                    $(Self::$kind => (hyper::StatusCode::$status, $code, $message),)*
                }
            }
        }

        impl $crate::api::failure::Row for Kind {
            fn row(self) -> (hyper::StatusCode, &'static str, &'static str) {
                self.row()
            }
        }
    };
}

pub(super) use kinds;

/// A request that was not done.
#[derive(Debug)]
pub struct Failure<K>(Box<Facts<K>>);

#[derive(Debug)]
struct Facts<K> {
    kind: K,
    fact: String,
    details: Vec<Value>,
    headers: Vec<(HeaderName, String)>,
    cause: Option<Error>,
}

/// What the client is told of a failure.
#[derive(Debug)]
pub struct Told {
    /// The answer's status.
    pub status: StatusCode,
    /// For scripts.
    pub code: &'static str,
    /// For people, with the fact in its place.
    pub message: String,
    /// One for each thing that the failure is about, where it told them apart.
    pub details: Vec<Value>,
    /// The answer's headers.
    pub headers: Vec<(HeaderName, String)>,
}

impl<K: Row> Failure<K> {
    /// Of this kind, whose message needs no fact.
    pub fn new(kind: K) -> Self {
        Self::about(kind, "")
    }

    /// Of this kind, with the fact its message has a place for.
    pub fn about(kind: K, fact: impl ToString) -> Self {
        let fact = shortened(fact.to_string());
        Self(Box::new(Facts { kind, fact, details: Vec::new(), headers: Vec::new(), cause: None }))
    }

    /// With a header more.
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// With one thing more that it is about.
    pub fn detailed(mut self, detail: Value) -> Self {
        self.0.details.push(detail);
        self
    }

    /// Because of this.
    pub fn because(mut self, cause: Error) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// Of another kind, for the same cause.
    pub fn of_kind(mut self, kind: K) -> Self {
        self.0.kind = kind;
        self
    }

    /// What went wrong.
    pub const fn kind(&self) -> K {
        self.0.kind
    }

    /// Tells the log, with the cause: our faults as errors, the client's for debugging.
    pub fn log(&self, route: &str, request_id: &str) {
        let (status, code, _) = self.0.kind.row();
        let cause = self.0.cause.as_ref().map(|cause| shortened(causes::chain(cause))).unwrap_or_default();
        if status.is_server_error() {
            tracing::error!(request_id, route, status = status.as_u16(), code, cause, "request failed");
        } else {
            tracing::debug!(request_id, route, status = status.as_u16(), code, cause, "request refused");
        }
    }

    /// What the surface puts into its answer.
    pub fn told(self) -> Told {
        let (status, code, message) = self.0.kind.row();
        let message = message.replacen("{}", &self.0.fact, 1);
        let Facts { details, headers, .. } = *self.0;
        Told { status, code, message, details, headers }
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_FACT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
