//! Who there is: names find what they name (R16, R17), accounts are there (R18), nothing is left of
//! who went (R19, R20), and policies can be read (R21 to R23).

use pierhead_storage_format::identity::Id;
use pierhead_storage_format::identity::keys::{
    AccountKey, AccountNameKey, GroupKey, GroupMemberKey, PolicyKey, TextKey, TextOwner, UserKey, UserNameKey,
};
use pierhead_storage_format::identity::records::NamedRecord;
use pierhead_storage_format::keys::{CounterKey, TableKey};

use pierhead_storage_format::retention::RetentionKey;

use super::report::{Invariant, ORPHAN_NAME, R16, R17, R18, R20, R21, R22, R23};
use super::rows::{each, get};
use super::{Check, Unreadable};
use crate::services::access::Policy;

/// Bytes of a document that are read: more than any policy has.
const MAX_DOCUMENT: usize = 64 << 10;
/// What the counter starts with that says that an account is being removed, before its id.
const REMOVAL_COUNTER: &str = "removal of account ";

impl Check<'_> {
    /// `repositories` are the numbers in use, in order.
    pub(super) fn identity(&mut self, repositories: &[u64]) -> Result<(), Unreadable> {
        self.accounts()?;
        self.users()?;
        self.groups()?;
        self.policies()?;
        self.texts(repositories)
    }

    pub(super) fn is_there<K: TableKey>(&self, key: &K) -> Result<bool, Unreadable> {
        Ok(self.rows.get(K::TABLE, &key.encode())?.is_some())
    }

    /// What every row that names another by its id comes to.
    pub(super) fn needs<K: TableKey>(
        &mut self,
        key: &K,
        invariant: &Invariant,
        what: impl FnOnce() -> String,
    ) -> Result<bool, Unreadable> {
        let there = self.is_there(key)?;
        if !there {
            self.report.find(invariant, what());
        }
        Ok(there)
    }

    fn accounts(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<AccountKey>(rows, &[], |AccountKey { id }, account| {
            let key = AccountNameKey { name: account.name };
            let named = get(rows, &key)?;
            if named.is_none() {
                let does = format!("have account {id} found by its name {:?}", key.name);
                self.report.fix_by_row(&R16, does, &key, &NamedRecord { id });
            }
            if named.is_none_or(|named| named.id != id) {
                self.report.find(&R16, format!("account {id} is not found by its name {:?}", key.name));
            }
            Ok(())
        })?;
        each::<AccountNameKey>(rows, &[], |AccountNameKey { name }, named| {
            let account = get(rows, &AccountKey { id: named.id })?;
            let what = || format!("the name {name:?} finds account {}, which has not that name", named.id);
            let Some(account) = account else {
                self.report.find_orphan(&R16, ORPHAN_NAME, what());
                return Ok(());
            };
            if account.name != name {
                self.report.find(&R16, what());
                let does = format!("remove the name {name:?}, which is no account's");
                self.report.fix_by_removal(&R16, does, &AccountNameKey { name });
            }
            Ok(())
        })
    }

    fn users(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<UserKey>(rows, &[], |UserKey { id }, user| {
            let shown = format!("user {id} ({:?})", user.name);
            let key = UserNameKey { account: user.account, name: user.name };
            let named = get(rows, &key)?;
            if named.is_none() {
                let does = format!("have {shown} found by name");
                self.report.fix_by_row(&R17, does, &key, &NamedRecord { id });
            }
            if named.is_none_or(|named| named.id != id) {
                self.report.find(&R17, format!("{shown} is not found by name in account {}", user.account));
            }
            self.in_account(&shown, user.account)?;
            self.attached(&shown, &user.policies)
        })?;
        each::<UserNameKey>(rows, &[], |UserNameKey { account, name }, named| {
            let user = get(rows, &UserKey { id: named.id })?;
            let what = || {
                let id = named.id;
                format!("the name {name:?} in account {account} finds user {id}, who has not that name there")
            };
            let Some(user) = user else {
                self.report.find_orphan(&R17, ORPHAN_NAME, what());
                return Ok(());
            };
            if user.account != account || user.name != name {
                self.report.find(&R17, what());
                let does = format!("remove the name {name:?} in account {account}, which is no user's");
                self.report.fix_by_removal(&R17, does, &UserNameKey { account, name });
            }
            Ok(())
        })
    }

    fn groups(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<GroupKey>(rows, &[], |GroupKey { id }, group| {
            let shown = format!("group {id} ({:?})", group.name);
            self.in_account(&shown, group.account)?;
            self.attached(&shown, &group.policies)
        })?;
        each::<GroupMemberKey>(rows, &[], |GroupMemberKey { group, user }, _| {
            let what = || format!("user {user} is a member of group {group}: one of them is gone");
            let is_whole = self.needs(&GroupKey { id: group }, &R20, what)?
                && self.needs(&UserKey { id: user }, &R20, what)?;
            if !is_whole {
                let does = format!("remove user {user} from group {group}");
                self.report.fix_by_removal(&R20, does, &GroupMemberKey { group, user });
            }
            Ok(())
        })
    }

    fn in_account(&mut self, shown: &str, account: Id) -> Result<(), Unreadable> {
        let removal = CounterKey { name: format!("{REMOVAL_COUNTER}{account}") };
        if self.is_there(&removal)? {
            return Ok(()); // it goes at the next start
        }
        let what = || format!("{shown} is of account {account}, which is not there");
        self.needs(&AccountKey { id: account }, &R18, what).map(drop)
    }

    fn attached(&mut self, shown: &str, policies: &[Id]) -> Result<(), Unreadable> {
        for policy in policies {
            let what = || format!("{shown} has policy {policy}, which is not there");
            self.needs(&PolicyKey { id: *policy }, &R21, what)?;
        }
        Ok(())
    }

    fn policies(&mut self) -> Result<(), Unreadable> {
        let rows = self.rows;
        each::<PolicyKey>(rows, &[], |PolicyKey { id }, policy| {
            let shown = format!("policy {id} ({:?})", policy.name);
            self.in_account(&shown, policy.account)?;
            let mut document = String::new();
            each::<TextKey>(rows, &TextKey::prefix(TextOwner::Policy(id)), |_, text| {
                if document.len() <= MAX_DOCUMENT {
                    document.push_str(&text.part);
                }
                Ok(())
            })?;
            if let Err(error) = Policy::parse(&document) {
                self.report.find(&R23, format!("{shown}: {error}"));
            }
            Ok(())
        })
    }

    /// One finding a text that belongs to nothing, and one a gap.
    fn texts(&mut self, repositories: &[u64]) -> Result<(), Unreadable> {
        let mut at: Option<Text> = None;
        each::<TextKey>(self.rows, &[], |TextKey { owner, part }, _| {
            let text = match at.take().filter(|text| text.owner == owner) {
                Some(text) => text,
                None => Text { owner, belongs: self.belongs(owner, repositories)?, next: 0 },
            };
            if !text.belongs {
                let does = format!("remove part {part} of a text of {}", shown(owner));
                self.report.fix_by_removal(&R22, does, &TextKey { owner, part });
            }
            if text.belongs && part != text.next {
                self.report.find(&R23, format!("the text of {} lacks part {}", shown(owner), text.next));
            }
            at = Some(Text { next: part.saturating_add(1), ..text });
            Ok(())
        })
    }

    fn belongs(&mut self, owner: TextOwner, repositories: &[u64]) -> Result<bool, Unreadable> {
        let there = match owner {
            TextOwner::Policy(id) => self.is_there(&PolicyKey { id })?,
            TextOwner::Repository(number) => repositories.binary_search(&number).is_ok(),
            TextOwner::Retention(repository) => self.is_there(&RetentionKey { repository })?,
        };
        if !there {
            self.report.find(&R22, format!("a text of {}, which is not there", shown(owner)));
        }
        Ok(there)
    }
}

/// The text whose parts are being looked at.
struct Text {
    owner: TextOwner,
    belongs: bool,
    /// The part that comes next.
    next: u64,
}

fn shown(owner: TextOwner) -> String {
    match owner {
        TextOwner::Policy(id) => format!("policy {id}"),
        TextOwner::Repository(number) => format!("the repository with number {number}"),
        TextOwner::Retention(number) => {
            format!("the retention policy of the repository with number {number}")
        }
    }
}
