//! An event, made of what a trace learnt. Texts are cut so that every event is a record.

use pierhead_storage_format::audit::{EventRecord, Rating};
use pierhead_storage_format::identity::Id;
use serde_json::{Map, Value};

use super::{Operation, Source};
use crate::services::access::{Access, Actor, Directory, Resource};

/// Bytes at most, as `FORMAT.md` has them.
const NAME: usize = 255;
const RESOURCE: usize = 512;
const RESOURCE_ID: usize = 128;
const SOURCE: usize = 128;
const FACTS: usize = 1000;
/// Of one text among the facts.
const FACT: usize = 255;

/// What is known of a request so far.
#[derive(Clone)]
pub struct Draft {
    pub source: Source,
    request_id: Option<Id>,
    pub actor: Option<Actor>,
    pub resource: Option<Resource>,
    pub name: String,
    pub id: String,
    pub asked: Vec<(&'static str, Value)>,
    pub answered: Vec<(&'static str, Value)>,
    pub signed: bool,
}

impl Draft {
    pub fn new(source: Source, request_id: &str) -> Self {
        Self {
            source,
            request_id: request_id.parse().ok(),
            actor: None,
            resource: None,
            name: String::new(),
            id: String::new(),
            asked: Vec::new(),
            answered: Vec::new(),
            signed: false,
        }
    }

    /// Whether a credential was shown that did not say who its bearer is.
    pub fn is_sign_in_refused(&self) -> bool {
        self.signed && !matches!(self.actor, Some(Actor::User(_)))
    }

    /// The event of it.
    pub fn event(
        self,
        operation: &Operation,
        access: &Access,
        (at, took): (u64, u64),
        (status, rating): (u16, Rating),
    ) -> EventRecord {
        let directory = access.directory();
        let actor = self.actor.unwrap_or(Actor::Anonymous);
        let user = match &actor {
            Actor::User(id) => Some(*id),
            _ => None,
        };
        let known = user.and_then(|id| directory.user(id));
        let account = known.map(|user| user.account);
        let account = account.or_else(|| self.resource.as_ref().and_then(|r| owner(&directory, r)));
        let account_name = account.and_then(|id| directory.account(id)).map(|account| account.name.as_str());
        let user_name = known.map_or_else(|| actor.to_string(), |user| user.name.clone());
        let resource =
            if self.name.is_empty() { self.resource.map(named).unwrap_or_default() } else { self.name };
        EventRecord {
            at,
            took,
            name: operation.name.to_owned(),
            resource_type: operation.resource_type.to_owned(),
            resource: cut(resource, RESOURCE),
            resource_id: cut(self.id, RESOURCE_ID),
            account,
            account_name: cut(account_name.unwrap_or_default().to_owned(), NAME),
            user,
            user_name: cut(user_name, NAME),
            source: cut(self.source.to_string(), SOURCE),
            code: status.into(),
            rating,
            request_id: self.request_id,
            request: facts(self.asked),
            response: facts(self.answered),
        }
    }
}

/// Whose trail it belongs in if it was done by nobody who has an account.
fn owner(directory: &Directory, resource: &Resource) -> Option<Id> {
    match resource {
        Resource::Registry => None,
        Resource::Account(id) => Some(*id),
        Resource::Organisation(_) | Resource::Repository(_) => {
            directory.organisation(resource.organisation()?)?.owner
        }
    }
}

fn named(resource: Resource) -> String {
    match resource {
        Resource::Registry => String::new(),
        Resource::Account(id) => id.to_string(),
        Resource::Organisation(name) => name.as_str().to_owned(),
        Resource::Repository(name) => name.as_str().to_owned(),
    }
}

/// At most so many bytes, cut between characters.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// A JSON object of the facts, in bounds: long texts are cut, and what does not fit is left out and said to be.
fn facts(facts: Vec<(&'static str, Value)>) -> String {
    let mut object = Map::new();
    let mut left = FACTS - "{\"more\":true}".len();
    for (name, value) in facts {
        let value = shortened(value);
        let bytes = name.len() + value.to_string().len() + "\"\":,".len();
        if bytes > left {
            object.insert("more".to_owned(), Value::Bool(true));
            break;
        }
        left -= bytes;
        object.insert(name.to_owned(), value);
    }
    Value::Object(object).to_string()
}

fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(cut(text, FACT)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use pierhead_storage_format::codec::Record;
    use proptest::prelude::*;

    use super::*;
    use crate::services::access::{Options, Rules};

    proptest! {
        #[test]
        fn every_event_is_a_record_and_its_facts_are_json(
            texts in prop::collection::vec("\\PC{0,3000}", 4),
            facts in prop::collection::vec("\\PC{0,700}", 0..12),
        ) {
            let access = Access::without_accounts(Rules::Closed(Options::default()));
            let operation = Operation::change("createImageRepository", "imagerepository", 201);
            let mut draft = Draft::new(Source::Local(texts[0].clone()), "no id");
            draft.name = texts[1].clone();
            draft.id = texts[2].clone();
            draft.asked = facts.iter().map(|text| ("fact", Value::from(text.as_str()))).collect();
            draft.answered = draft.asked.clone();
            let event = draft.event(&operation, &access, (1, 2), (201, Rating::Normal));
            prop_assert!(event.encode().is_ok());
            prop_assert!(serde_json::from_str::<Map<String, Value>>(&event.request).is_ok());
            prop_assert!(event.request.len() <= FACTS && event.resource.len() <= RESOURCE);
        }
    }
}
