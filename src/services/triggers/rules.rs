//! What a trigger may say: its name, when it acts, and on which workload.

use crate::services::error::Error;
use crate::services::names::Tag;
use crate::services::patterns::Pattern;

/// Characters of a name.
const MAX_NAME: usize = 64;
/// Characters of names of clusters, namespaces, workloads and containers.
const MAX_WORKLOAD: usize = 253;
/// Tags that one condition can name.
const MAX_TAGS: usize = 100;

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its name, its own in the repository.
    pub name: String,
    /// When it acts.
    pub when: Condition,
    /// On what.
    pub workload: Workload,
    /// Whether it acts at all.
    pub enabled: bool,
}

/// Which versions it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All.
    Every,
    /// These.
    Tags(Vec<Tag>),
    /// Those that match.
    Matching(Pattern),
}

/// What it acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `deployments` or `statefulsets`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The namespace it is in.
    pub namespace: String,
    /// The container whose image is set; every one without.
    pub container: Option<String>,
    /// The cluster, by id or name; none for container instances.
    pub cluster: Option<(String, String)>,
}

/// A trigger as somebody wrote it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// What it does: `update`.
    pub action: String,
    /// `all`, `tag` or `regular`.
    pub trigger_type: String,
    /// What that is about.
    pub condition: String,
    /// `deployments` or `statefulsets`.
    pub app_type: String,
    /// The workload.
    pub application: String,
    /// The namespace it is in.
    pub cluster_ns: String,
    /// `true` or `false`.
    pub enable: String,
    /// The container.
    pub container: String,
    /// `cce` or `cci`.
    pub trigger_mode: String,
    /// The cluster.
    pub cluster_id: String,
    /// The cluster.
    pub cluster_name: String,
}

impl Draft {
    /// The trigger it is; else what is wrong with it.
    pub fn read(self) -> Result<Trigger, Error> {
        if !is_name(&self.name) {
            let why = "it has 1 to 64 letters, digits, _ and -, starts with a letter, and has neither two of the last \
                       two side by side nor one at its end";
            return Err(wrong("name", why));
        }
        if self.action != "update" {
            return Err(wrong("action", "it is update"));
        }
        let when = condition(&self.trigger_type, &self.condition)?;
        let enabled = enabled(&self.enable)?;
        let name = self.name.clone();
        Ok(Trigger { name, when, workload: self.workload()?, enabled })
    }

    fn workload(self) -> Result<Workload, Error> {
        if !["deployments", "statefulsets"].contains(&self.app_type.as_str()) {
            return Err(wrong("app_type", "it is deployments or statefulsets"));
        }
        for (field, name) in [("application", &self.application), ("cluster_ns", &self.cluster_ns)] {
            if name.is_empty() || !is_short(name) {
                return Err(wrong(field, "it has 1 to 253 characters"));
            }
        }
        let rest = [&self.container, &self.cluster_id, &self.cluster_name];
        if !rest.into_iter().all(|name| is_short(name)) {
            return Err(wrong(
                "container",
                "container, cluster_id and cluster_name have at most 253 characters",
            ));
        }
        let has_cluster = !(self.cluster_id.is_empty() && self.cluster_name.is_empty());
        let cluster = match (self.trigger_mode.as_str(), has_cluster) {
            ("cce", true) => Some((self.cluster_id, self.cluster_name)),
            ("cci", false) => None,
            ("cce", false) => return Err(wrong("cluster_id", "cce needs cluster_id or cluster_name")),
            ("cci", true) => return Err(wrong("cluster_id", "cci has neither cluster_id nor cluster_name")),
            _ => return Err(wrong("trigger_mode", "it is cce or cci")),
        };
        let container = Some(self.container).filter(|name| !name.is_empty() && name != "all");
        let (kind, name, namespace) = (self.app_type, self.application, self.cluster_ns);
        Ok(Workload { kind, name, namespace, container, cluster })
    }
}

/// `true` or `false`, which this API sends as text.
pub fn enabled(text: &str) -> Result<bool, Error> {
    text.parse().map_err(|_| wrong("enable", "it is \"true\" or \"false\""))
}

fn condition(kind: &str, text: &str) -> Result<Condition, Error> {
    let invalid = |why: String| Error::Invalid { field: "condition", why };
    match kind {
        "all" if text == ".*" => Ok(Condition::Every),
        "all" => Err(invalid("for all it is .*".to_owned())),
        "tag" => {
            let tags: Result<Vec<Tag>, _> = text.split(';').map(str::parse).collect();
            let tags = tags.map_err(|_| invalid("it is a tag, or several with ; between".to_owned()))?;
            match tags.len() <= MAX_TAGS {
                true => Ok(Condition::Tags(tags)),
                false => Err(invalid(format!("it names at most {MAX_TAGS} tags"))),
            }
        }
        "regular" => Pattern::read(text).map(Condition::Matching).map_err(invalid),
        _ => Err(wrong("trigger_type", "it is all, tag or regular")),
    }
}

fn is_name(text: &str) -> bool {
    let is_separator = |c: char| c == '_' || c == '-';
    let parts = text.split(is_separator);
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && parts.into_iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric()))
}

fn is_short(text: &str) -> bool {
    text.chars().count() <= MAX_WORKLOAD && !text.contains(char::is_control)
}

fn wrong(field: &'static str, why: &str) -> Error {
    Error::Invalid { field, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let text = str::to_owned;
        Draft {
            name: text("t1"),
            action: text("update"),
            trigger_type: text("all"),
            condition: text(".*"),
            app_type: text("deployments"),
            application: text("web"),
            cluster_ns: text("default"),
            enable: text("true"),
            container: String::new(),
            trigger_mode: text("cce"),
            cluster_id: text("0123"),
            cluster_name: String::new(),
        }
    }

    fn field(draft: Draft) -> Option<&'static str> {
        match draft.read() {
            Ok(_) => None,
            Err(Error::Invalid { field, .. }) => Some(field),
            Err(_) => Some("another error"),
        }
    }

    #[test]
    fn a_name_starts_with_a_letter_and_its_separators_stand_alone_and_never_last() {
        let long = "a".repeat(64);
        let longer = "a".repeat(65);
        let good = ["a", "A1", "a-b_c", "trigger-1", &long];
        let bad = ["", "1a", "-a", "_a", "a-", "a_", "a--b", "a__b", "a-_b", "a.b", "a b", "\u{e4}", &longer];
        let named = |name: &str| field(Draft { name: name.to_owned(), ..draft() });
        good.iter().for_each(|name| assert_eq!(named(name), None, "{name}"));
        bad.iter().for_each(|name| assert_eq!(named(name), Some("name"), "{name}"));
    }

    #[test]
    fn a_condition_fits_its_kind() {
        let many = vec!["v1"; MAX_TAGS + 1].join(";");
        let cases = [
            ("all", ".*", None),
            ("all", "v1", Some("condition")),
            ("tag", "v1", None),
            ("tag", "v1;v2", None),
            ("tag", "", Some("condition")),
            ("tag", "v1;", Some("condition")),
            ("tag", "v 1", Some("condition")),
            ("tag", &many, Some("condition")),
            ("regular", "^v2.*$", None),
            ("regular", "(", Some("condition")),
            ("regular", "", Some("condition")),
            ("glob", "v*", Some("trigger_type")),
        ];
        for (kind, text, expected) in cases {
            let draft = Draft { trigger_type: kind.to_owned(), condition: text.to_owned(), ..draft() };
            assert_eq!(field(draft), expected, "{kind} {text}");
        }
    }

    #[test]
    fn every_other_field_is_checked() {
        type Case<'a> = (&'a str, fn(&mut Draft), Option<&'a str>);
        let cases: [Case<'_>; 13] = [
            ("action", |d| d.action = "delete".to_owned(), Some("action")),
            ("kind of workload", |d| d.app_type = "jobs".to_owned(), Some("app_type")),
            ("no workload", |d| d.application.clear(), Some("application")),
            ("no namespace", |d| d.cluster_ns.clear(), Some("cluster_ns")),
            ("a long namespace", |d| d.cluster_ns = "n".repeat(254), Some("cluster_ns")),
            ("enable", |d| d.enable = "yes".to_owned(), Some("enable")),
            ("disabled", |d| d.enable = "false".to_owned(), None),
            ("mode", |d| d.trigger_mode = "k8s".to_owned(), Some("trigger_mode")),
            ("no cluster", |d| d.cluster_id.clear(), Some("cluster_id")),
            ("instances of a cluster", |d| d.trigger_mode = "cci".to_owned(), Some("cluster_id")),
            ("a container", |d| d.container = "app".to_owned(), None),
            ("a long container", |d| d.container = "c".repeat(254), Some("container")),
            (
                "instances",
                |d| {
                    d.trigger_mode = "cci".to_owned();
                    d.cluster_id.clear();
                },
                None,
            ),
        ];
        for (name, change, expected) in cases {
            let mut draft = draft();
            change(&mut draft);
            assert_eq!(field(draft), expected, "{name}");
        }
    }

    #[test]
    fn all_containers_are_meant_where_none_or_all_is_said() {
        let container = |text: &str| {
            let read = Draft { container: text.to_owned(), ..draft() }.read().expect("read");
            read.workload.container
        };
        assert_eq!((container(""), container("all"), container("app")), (None, None, Some("app".to_owned())));
    }
}
