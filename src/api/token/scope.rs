//! The parameter `scope` of the Docker token protocol: `repository:acme/web:pull,push`.

use crate::services::identity::RequestedScope;

/// Scopes that are looked at in one request.
const MAX: usize = 100;
/// Actions that are looked at in one scope.
const MAX_ACTIONS: usize = 16;

/// The scopes of all values of the parameter. A value may have several, with blanks between; forms write a
/// blank as `+`, which no name has. What is no scope is left out: it would give nothing.
pub fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Vec<RequestedScope> {
    values.flat_map(|value| value.split([' ', '+'])).filter_map(one).take(MAX).collect()
}

/// The kind is before the first `:`, the actions are after the last.
fn one(text: &str) -> Option<RequestedScope> {
    let (kind, rest) = text.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    // `repository(class)`: the class says nothing here.
    let kind = kind.split('(').next().unwrap_or(kind);
    if kind.is_empty() || name.is_empty() {
        return None;
    }
    let actions = actions.split(',').filter(|action| !action.is_empty()).take(MAX_ACTIONS);
    let actions = actions.map(str::to_owned).collect();
    Some(RequestedScope { kind: kind.to_owned(), name: name.to_owned(), actions })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(values: &[&str]) -> Vec<String> {
        let parsed = parse(values.iter().copied());
        parsed.iter().map(|s| format!("{} {} {}", s.kind, s.name, s.actions.join("+"))).collect()
    }

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        let cases: [(&str, &[&str], &[&str]); 11] = [
            ("none", &[], &[]),
            ("one", &["repository:acme/web:pull"], &["repository acme/web pull"]),
            ("two actions", &["repository:acme/web:push,pull"], &["repository acme/web push+pull"]),
            (
                "two parameters",
                &["repository:a/b:pull", "repository:c/d:push"],
                &["repository a/b pull", "repository c/d push"],
            ),
            (
                "two in one",
                &["repository:a/b:pull repository:c/d:push"],
                &["repository a/b pull", "repository c/d push"],
            ),
            (
                "blanks of a form",
                &["repository:a/b:pull+repository:c/d:*"],
                &["repository a/b pull", "repository c/d *"],
            ),
            ("no actions", &["repository:a/b:"], &["repository a/b "]),
            ("a class", &["repository(plugin):a/b:pull"], &["repository a/b pull"]),
            ("a port in the name", &["repository:host:5000/a:pull"], &["repository host:5000/a pull"]),
            ("the catalog", &["registry:catalog:*"], &["registry catalog *"]),
            ("no scopes", &["", "x", "repository", "repository:", "a:b", "::", ":x:pull"], &[]),
        ];
        for (name, values, expected) in cases {
            assert_eq!(shown(values), expected, "{name}");
        }
    }

    #[test]
    fn what_is_looked_at_is_bounded() {
        let many = "repository:a/b:pull ".repeat(1000);
        assert_eq!(parse([many.as_str()].into_iter()).len(), MAX);
        let actions = format!("repository:a/b:{}", "pull,".repeat(1000));
        assert_eq!(parse([actions.as_str()].into_iter())[0].actions.len(), MAX_ACTIONS);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}", other in "[a-z:,+ *()]{0,80}") {
            let _ = parse([text.as_str(), other.as_str()].into_iter());
        }

        #[test]
        fn what_a_client_writes_is_what_is_read(
            name in "[a-z][a-z0-9/:.-]{0,30}[a-z]",
            actions in prop::collection::vec("[a-z*]{1,8}", 0..5),
        ) {
            let text = format!("repository:{name}:{}", actions.join(","));
            let parsed = parse([text.as_str()].into_iter());
            prop_assert_eq!(&parsed, &[RequestedScope { kind: "repository".to_owned(), name, actions }]);
        }
    }
}
