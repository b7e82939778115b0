//! The forms of a user name, in Basic credentials and login commands.

use super::access_key::AccessKey;

/// Who a user name says he is. Nothing here is checked against anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// `project@AK`: an access key or a temporary login. Split at the last `@`; a project may have
    /// others.
    AccessKey {
        /// The project or region; may be empty.
        project: String,
        /// The AK, or the id of a temporary login.
        id: String,
    },
    /// `bearertoken@…`: the password is a token.
    Token,
    /// `user`: of the only account, or the operator's.
    User(String),
    /// `account/user`.
    UserOfAccount {
        /// Before the first `/`.
        account: String,
        /// All after it.
        user: String,
    },
    /// `user@account`, or a user whose name has an `@`.
    UserAtAccount {
        /// Before the last `@`.
        user: String,
        /// All after it.
        account: String,
        /// The whole of it.
        whole: String,
    },
}

impl Login {
    /// The longest user name that is looked at, in bytes.
    pub const MAX_LEN: usize = 512;

    /// Reads a user name. Every text is some form, but for empty, overlong and unprintable ones.
    pub fn parse(name: &str) -> Option<Self> {
        if name.is_empty() || name.len() > Self::MAX_LEN || name.chars().any(char::is_control) {
            return None;
        }
        Some(match (name.rsplit_once('@'), name.split_once('/')) {
            (Some(("bearertoken", _)), _) => Self::Token,
            (Some((project, id)), _) if AccessKey::is_id(id) => {
                Self::AccessKey { project: project.to_owned(), id: id.to_owned() }
            }
            (_, Some((account, user))) if !account.is_empty() && !user.is_empty() => {
                Self::UserOfAccount { account: account.to_owned(), user: user.to_owned() }
            }
            (Some((user, account)), _) if !user.is_empty() && !account.is_empty() => Self::UserAtAccount {
                user: user.to_owned(),
                account: account.to_owned(),
                whole: name.to_owned(),
            },
            _ => Self::User(name.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AK: &str = "ABCDEFGHIJ0123456789";

    #[test]
    fn every_form_of_user_name_is_told_from_the_others() {
        let key = |project: &str| Login::AccessKey { project: project.to_owned(), id: AK.to_owned() };
        let at = |user: &str, account: &str| Login::UserAtAccount {
            user: user.to_owned(),
            account: account.to_owned(),
            whole: format!("{user}@{account}"),
        };
        let of = |account: &str, user: &str| Login::UserOfAccount {
            account: account.to_owned(),
            user: user.to_owned(),
        };
        let cases = [
            ("project and AK", format!("cn-north-4@{AK}"), key("cn-north-4")),
            ("a project with an @", format!("a@b@{AK}"), key("a@b")),
            ("a project with a /", format!("cn-north-4/sub@{AK}"), key("cn-north-4/sub")),
            ("no project", format!("@{AK}"), key("")),
            ("an AK alone is a user's name", AK.to_owned(), Login::User(AK.to_owned())),
            ("a token", "bearertoken@whatever".to_owned(), Login::Token),
            ("a token beside an AK", format!("bearertoken@{AK}"), Login::Token),
            ("a user", "joe".to_owned(), Login::User("joe".to_owned())),
            ("a user of an account", "acme/joe".to_owned(), of("acme", "joe")),
            ("a user with an @ of an account", "acme/joe@x.org".to_owned(), of("acme", "joe@x.org")),
            ("a user at an account", "joe@acme".to_owned(), at("joe", "acme")),
            ("two @", "joe@x.org@acme".to_owned(), at("joe@x.org", "acme")),
            ("lower-case letters are no AK", format!("p@{}", AK.to_lowercase()), at("p", &AK.to_lowercase())),
            ("too short for an AK", "p@ABCDEFGH".to_owned(), at("p", "ABCDEFGH")),
            ("nothing before the @", "@acme".to_owned(), Login::User("@acme".to_owned())),
            ("nothing after it", "joe@".to_owned(), Login::User("joe@".to_owned())),
            ("a / alone", "/".to_owned(), Login::User("/".to_owned())),
        ];
        for (name, text, expected) in cases {
            assert_eq!(Login::parse(&text), Some(expected), "{name}");
        }
        for text in [String::new(), "a\nb".to_owned(), "a\0".to_owned(), "x".repeat(513)] {
            assert_eq!(Login::parse(&text), None, "{text:.10}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".*", shaped in "[a-z@/A-Z0-9]{0,60}") {
            let _ = Login::parse(&text);
            if let Some(Login::UserAtAccount { user, account, whole }) = Login::parse(&shaped) {
                prop_assert_eq!(format!("{user}@{account}"), whole);
            }
        }
    }
}
