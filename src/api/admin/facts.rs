//! What the audit trail gets of a request: who, what its path names, and of its body the fields of a list.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::api::pattern::Params;
use crate::services::access::Actor;
use crate::services::audit::Trace;

/// Fields of bodies that are recorded; no other is, so that a new one is not by mistake. None of them is a
/// secret or holds one.
const FIELDS: &[&str] = &[
    "keep",
    "count",
    "trust_clock",
    "name",
    "subject",
    "note",
    "enabled",
    "programmatic",
    "console",
    "roles",
    "policies",
    "users",
    "level",
    "owner",
    "public",
    "category",
    "until",
    "duration_ms",
    "repository",
    "older_than_ms",
    "idle_for_ms",
    "dry_run",
    "bytes",
    "full",
];

/// Who asks, and what the path names.
pub fn path(trace: &Trace, actor: &Actor, params: &Params) {
    trace.by(actor);
    for (name, value) in params.all() {
        trace.asked(name, value);
    }
    if let Some((_, last)) = params.all().last() {
        trace.named(last);
    }
}

/// The fields that may be shown. What is made is called what the body names.
pub fn body(trace: &Trace, params: &Params, body: &Bytes) {
    let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(body) else { return };
    for field in FIELDS {
        if let Some(value) = fields.get(*field).filter(|value| is_plain(value)) {
            trace.asked(field, value.clone());
        }
    }
    let made = fields.get("name").or_else(|| fields.get("subject")).and_then(Value::as_str);
    if let Some(name) = made.filter(|_| params.len() < 2) {
        trace.named(name);
    }
}

/// A value, or a list of values: nothing that could have more in it than its name says.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(values) => values.iter().all(|value| !value.is_object() && !value.is_array()),
        _ => true,
    }
}
