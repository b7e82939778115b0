//! Keys of who there is. An id is its 16 bytes, so it delimits itself; a text part is last.

use serde::{Deserialize, Serialize};

use super::Id;
use super::records::{
    AccessKeyRecord, AccessKeyUseRecord, AccountRecord, FavouriteRecord, GrantRecord, GroupRecord,
    LoginRecord, NamedRecord, PolicyRecord, RepositorySettingsRecord, ShareRecord, TextRecord, UserRecord,
};
use crate::codec::FormatError;
use crate::keys::{Table, TableKey, number, text};
use crate::records::Present;

fn id_only(key: &[u8]) -> Result<Id, FormatError> {
    match Id::read_key(key)? {
        (id, []) => Ok(id),
        _ => Err(FormatError::Key),
    }
}

macro_rules! id_key {
    ($(#[$doc:meta])* $name:ident, $table:ident, $record:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name {
            /// The id.
            pub id: Id,
        }

        impl TableKey for $name {
            const TABLE: Table = Table::$table;
            type Record = $record;

            fn encode(&self) -> Vec<u8> {
                self.id.as_bytes().to_vec()
            }

            fn decode(key: &[u8]) -> Result<Self, FormatError> {
                Ok(Self { id: id_only(key)? })
            }
        }
    };
}

id_key!(
    /// An account.
    AccountKey, Account, AccountRecord
);
id_key!(
    /// A user.
    UserKey, User, UserRecord
);
id_key!(
    /// A group.
    GroupKey, Group, GroupRecord
);
id_key!(
    /// A policy.
    PolicyKey, Policy, PolicyRecord
);

macro_rules! name_key {
    ($(#[$doc:meta])* $name:ident, $table:ident, $record:ty, $field:ident, $says:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name {
            #[doc = $says]
            pub $field: String,
        }

        impl TableKey for $name {
            const TABLE: Table = Table::$table;
            type Record = $record;

            fn encode(&self) -> Vec<u8> {
                self.$field.clone().into_bytes()
            }

            fn decode(key: &[u8]) -> Result<Self, FormatError> {
                Ok(Self { $field: text(key)? })
            }
        }
    };
}

name_key!(
    /// An account by its name.
    AccountNameKey, AccountName, NamedRecord, name, "The account's name."
);
name_key!(
    /// An access key.
    AccessKeyKey, AccessKey, AccessKeyRecord, key, "The AK."
);
name_key!(
    /// When an access key was last used.
    AccessKeyUseKey, AccessKeyUse, AccessKeyUseRecord, key, "The AK."
);
name_key!(
    /// A temporary login.
    LoginKey, Login, LoginRecord, key, "Its AK."
);
name_key!(
    /// Attributes of a repository.
    RepositorySettingsKey, RepositorySettings, RepositorySettingsRecord, name, "The repository's whole name."
);

macro_rules! id_name_key {
    ($(#[$doc:meta])* $name:ident, $table:ident, $record:ty, $id:ident, $says:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name {
            #[doc = $says]
            pub $id: Id,
            /// The name.
            pub name: String,
        }

        impl $name {
            /// What all of its keys start with.
            pub fn prefix($id: Id) -> Vec<u8> {
                $id.as_bytes().to_vec()
            }
        }

        impl TableKey for $name {
            const TABLE: Table = Table::$table;
            type Record = $record;

            fn encode(&self) -> Vec<u8> {
                let mut key = Self::prefix(self.$id);
                key.extend_from_slice(self.name.as_bytes());
                key
            }

            fn decode(key: &[u8]) -> Result<Self, FormatError> {
                let (id, name) = Id::read_key(key)?;
                Ok(Self { $id: id, name: text(name)? })
            }
        }
    };
}

id_name_key!(
    /// A user by his name in his account.
    UserNameKey, UserName, NamedRecord, account, "The account."
);
id_name_key!(
    /// What a user was granted in an organisation (`acme`) or a repository (`acme/web`).
    GrantKey, Grant, GrantRecord, user, "The user."
);
id_name_key!(
    /// A repository (its whole name) shared with an account.
    ShareKey, Share, ShareRecord, account, "The account it is shared with."
);
id_name_key!(
    /// A repository (its whole name) a user marked.
    FavouriteKey, Favourite, FavouriteRecord, user, "The user."
);

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupMemberKey {
    /// The group.
    pub group: Id,
    /// Its member.
    pub user: Id,
}

impl GroupMemberKey {
    /// What every member of a group starts with.
    pub fn prefix(group: Id) -> Vec<u8> {
        group.as_bytes().to_vec()
    }
}

impl TableKey for GroupMemberKey {
    const TABLE: Table = Table::GroupMember;
    type Record = Present;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.group);
        key.extend_from_slice(self.user.as_bytes());
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (group, rest) = Id::read_key(key)?;
        Ok(Self { group, user: id_only(rest)? })
    }
}

/// What a long text belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TextOwner {
    /// A policy's document.
    Policy(Id),
    /// The description of the repository of this number.
    Repository(u64),
    /// The selectors of that repository's retention policy, JSON.
    Retention(u64),
}

/// A part of a long text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TextKey {
    /// What it belongs to.
    pub owner: TextOwner,
    /// Its place, from 0.
    pub part: u64,
}

const POLICY: u8 = 1;
const REPOSITORY: u8 = 2;
const RETENTION: u8 = 3;

impl TextKey {
    /// What every part of a text starts with.
    pub fn prefix(owner: TextOwner) -> Vec<u8> {
        match owner {
            TextOwner::Policy(id) => [&[POLICY], id.as_bytes().as_slice()].concat(),
            TextOwner::Repository(repository) => {
                [&[REPOSITORY], repository.to_be_bytes().as_slice()].concat()
            }
            TextOwner::Retention(repository) => [&[RETENTION], repository.to_be_bytes().as_slice()].concat(),
        }
    }
}

impl TableKey for TextKey {
    const TABLE: Table = Table::Text;
    type Record = TextRecord;

    fn encode(&self) -> Vec<u8> {
        let mut key = Self::prefix(self.owner);
        key.extend_from_slice(&self.part.to_be_bytes());
        key
    }

    fn decode(key: &[u8]) -> Result<Self, FormatError> {
        let (owner, rest) = match key.split_first() {
            Some((&POLICY, rest)) => Id::read_key(rest).map(|(id, rest)| (TextOwner::Policy(id), rest))?,
            Some((&REPOSITORY, rest)) => number(rest).map(|(n, rest)| (TextOwner::Repository(n), rest))?,
            Some((&RETENTION, rest)) => number(rest).map(|(n, rest)| (TextOwner::Retention(n), rest))?,
            _ => return Err(FormatError::Key),
        };
        match number(rest)? {
            (part, []) => Ok(Self { owner, part }),
            _ => Err(FormatError::Key),
        }
    }
}
