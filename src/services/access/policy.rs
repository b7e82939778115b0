//! Custom policies: documents of version 1.1, as SWR has them, read once and matched often.
//!
//! P1: a Deny that matches is never undone by anything.
//! P2: a document that says something this evaluator does not know is refused when it is made,
//!     never half understood.
//! P3: spelling never makes a Deny void: case of names, `SWR:/*:…` for `SWR:*:…`, `…:repo:acme` for
//!     `…:repo:acme/*`, `…:namespace:acme/*` for `…:namespace:acme`, `SWR:*:*:*` for `*`, with and without the account's field, all mean the same.
//!
//! Must not know who has which policy; that is `directory`'s.

use serde::Deserialize;

use super::action::Action;
use super::resource::Resource;
use crate::services::object::Object;

/// The longest document taken, in bytes.
pub const MAX_DOCUMENT: usize = 6144;
const MAX_STATEMENTS: usize = 32;
const MAX_PATTERNS: usize = 200;

/// Why a document is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Over [`MAX_DOCUMENT`].
    #[error("a policy is at most {MAX_DOCUMENT} bytes")]
    TooLong,
    /// Not JSON of this shape.
    #[error("not a policy: {0}")]
    Shape(String),
    /// Another version.
    #[error("the version is \"1.1\"; this one says {0:?}")]
    Version(String),
    /// No statement, or too many.
    #[error("a policy has 1 to {MAX_STATEMENTS} statements")]
    Statements,
    /// No pattern, or too many.
    #[error("a statement has 1 to {MAX_PATTERNS} actions, and 1 to {MAX_PATTERNS} resources if it names any")]
    Patterns,
    /// An action that is none.
    #[error("{0:?} is not an action such as swr:repo:download or swr:repo:*")]
    Action(String),
    /// A resource that is none.
    #[error("{0:?} is not a resource such as SWR:*:repo:acme/* or SWR:*:namespace:acme")]
    Resource(String),
    /// A region of its own.
    #[error("{0:?} names a region; an appliance is one region, written *")]
    Region(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    version: String,
    #[serde(rename = "Statement")]
    statements: Vec<Object<RawStatement>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStatement {
    #[serde(rename = "Effect")]
    effect: Effect,
    #[serde(rename = "Action")]
    actions: Vec<String>,
    #[serde(rename = "Resource")]
    resources: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// A policy that was read.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    actions: Vec<Pattern>,
    /// `None` for every resource.
    resources: Option<Vec<ResourcePattern>>,
}

/// What a policy says of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// A statement allows it.
    pub allowed: bool,
    /// A statement denies it.
    pub denied: bool,
}

impl Verdict {
    /// Both together.
    pub const fn and(self, other: Self) -> Self {
        Self { allowed: self.allowed || other.allowed, denied: self.denied || other.denied }
    }
}

impl Policy {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_DOCUMENT {
            return Err(PolicyError::TooLong);
        }
        let Object(document): Object<Document> =
            serde_json::from_str(text).map_err(|error| PolicyError::Shape(error.to_string()))?;
        if document.version != "1.1" {
            return Err(PolicyError::Version(document.version));
        }
        if document.statements.is_empty() || document.statements.len() > MAX_STATEMENTS {
            return Err(PolicyError::Statements);
        }
        let statements =
            document.statements.iter().map(|Object(raw)| Statement::read(raw)).collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }

    /// What it says of doing `action` to `resource`.
    pub fn verdict(&self, action: Action, resource: &Resource) -> Verdict {
        let mut verdict = Verdict::default();
        for statement in self.statements.iter().filter(|statement| statement.matches(action, resource)) {
            match statement.effect {
                Effect::Allow => verdict.allowed = true,
                Effect::Deny => verdict.denied = true,
            }
        }
        verdict
    }
}

impl Statement {
    fn read(raw: &RawStatement) -> Result<Self, PolicyError> {
        let fits = |patterns: &[String]| (1..=MAX_PATTERNS).contains(&patterns.len());
        if !fits(&raw.actions) || raw.resources.as_deref().is_some_and(|resources| !fits(resources)) {
            return Err(PolicyError::Patterns);
        }
        let actions = raw.actions.iter().map(|text| action_pattern(text)).collect::<Result<_, _>>()?;
        let resources = match &raw.resources {
            None => None,
            Some(all) if all.iter().any(|text| text == "*") => None,
            Some(all) => Some(all.iter().map(|text| ResourcePattern::read(text)).collect::<Result<_, _>>()?),
        };
        Ok(Self { effect: raw.effect, actions, resources })
    }

    fn matches(&self, action: Action, resource: &Resource) -> bool {
        self.actions.iter().any(|pattern| pattern.matches(action.name()))
            && self.resources.as_ref().is_none_or(|all| all.iter().any(|pattern| pattern.matches(resource)))
    }
}

/// `swr:repo:download`, with wildcards in any part; `*` alone is every action.
fn action_pattern(text: &str) -> Result<Pattern, PolicyError> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '*' | '_' | '-');
    let parts = text.split(':').count();
    if !text.chars().all(known) || text.is_empty() || !(parts == 3 || text == "*") {
        return Err(PolicyError::Action(text.to_owned()));
    }
    Ok(Pattern::new(text))
}

/// What kind of thing a pattern of a resource names.
#[derive(Clone, Debug)]
struct ResourcePattern {
    kind: Pattern,
    path: Pattern,
    /// The path without what stands for all that is in an organisation: `acme` of `acme/*`.
    organisation: Pattern,
    /// Without a slash the path names an organisation, and with it all that is in it.
    whole_organisation: bool,
    /// Of any kind and any path: accounts and the registry too.
    everything: bool,
}

impl ResourcePattern {
    /// `service:region:kind:path`, or with the account's field `service:region:account:kind:path`.
    fn read(text: &str) -> Result<Self, PolicyError> {
        let wrong = || PolicyError::Resource(text.to_owned());
        let fields: Vec<&str> = text.splitn(5, ':').collect();
        let (service, regions, kind, path) = match *fields.as_slice() {
            [service, region, kind, path] => (service, vec![region], kind, path),
            [service, region, account, kind, path] => (service, vec![region, account], kind, path),
            _ => return Err(wrong()),
        };
        let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '*' | '$');
        if !(service.eq_ignore_ascii_case("swr") || service == "*") || !path.chars().all(is_path) {
            return Err(wrong());
        }
        if !["repo", "namespace", "*"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
            return Err(wrong());
        }
        if regions.iter().any(|region| !matches!(*region, "*" | "/*" | "")) {
            return Err(PolicyError::Region(text.to_owned()));
        }
        let path = path.replace('$', "/");
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Err(wrong());
        }
        let is_any = path.bytes().all(|byte| byte == b'*');
        let organisation = path.trim_end_matches('*').strip_suffix('/').unwrap_or(path);
        Ok(Self {
            everything: kind == "*" && is_any,
            organisation: Pattern::new(organisation),
            kind: Pattern::new(kind),
            whole_organisation: !path.contains('/'),
            path: Pattern::new(path),
        })
    }

    fn matches(&self, resource: &Resource) -> bool {
        match resource {
            Resource::Registry | Resource::Account(_) => self.everything,
            Resource::Organisation(name) => {
                self.kind.matches("namespace") && self.organisation.matches(name.as_str())
            }
            Resource::Repository(name) => {
                let organisation = self.whole_organisation && self.path.matches(name.organisation());
                self.kind.matches("repo") && (organisation || self.path.matches(name.as_str()))
            }
        }
    }
}

/// A text in which `*` stands for any characters, none and slashes too; case does not count.
#[derive(Clone, Debug)]
struct Pattern(Vec<u8>);

impl Pattern {
    fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase().into_bytes())
    }

    /// Backtracks to the last `*` only, so the cost is the product of the lengths at worst.
    fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (&self.0, text.as_bytes());
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p + 1, t));
                p += 1;
            } else if pattern.get(p) == Some(&text[t].to_ascii_lowercase()) {
                p += 1;
                t += 1;
            } else if let Some((after, from)) = star {
                star = Some((after, from + 1));
                p = after;
                t = from + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
