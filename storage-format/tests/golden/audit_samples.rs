//! Samples of the audit trail.

use pierhead_storage_format::audit::{EventKey, EventRecord, Rating};
use pierhead_storage_format::identity::Id;

use super::{Sample, TIME, identity, sample};

/// A trace id of [`TIME`].
pub fn id(last: u8) -> Id {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&TIME.to_be_bytes()[2..]);
    bytes[15] = last;
    Id::from_bytes(bytes)
}

/// A user made an organisation.
pub fn change() -> EventRecord {
    EventRecord {
        at: TIME,
        took: 12,
        name: "createUserNamespace".into(),
        resource_type: "usernamespace".into(),
        resource: "acme".into(),
        resource_id: "7".into(),
        account: Some(identity::id(0x10)),
        account_name: "own".into(),
        user: Some(identity::id(0x30)),
        user_name: "ann".into(),
        source: "192.0.2.7".into(),
        code: 201,
        rating: Rating::Normal,
        request_id: Some(identity::id(0x70)),
        request: r#"{"namespace":"acme"}"#.into(),
        response: r#"{"id":7}"#.into(),
    }
}

/// Somebody was refused.
pub fn anonymous() -> EventRecord {
    EventRecord {
        resource_id: String::new(),
        account: None,
        account_name: String::new(),
        user: None,
        user_name: "anonymous".into(),
        code: 401,
        rating: Rating::Warning,
        request_id: None,
        request: "{}".into(),
        response: "{}".into(),
        ..change()
    }
}

/// Every sample.
pub fn samples() -> Vec<Sample> {
    vec![
        sample(None, &EventKey { id: id(1) }, &change()),
        sample(Some("anonymous"), &EventKey { id: id(2) }, &anonymous()),
    ]
}
