//! What a push makes before anything is in it: the repository and, where the settings let it, its
//! organisation. Outside of a lab both have an owner.

use pierhead_storage_format::identity::keys::{GrantKey, RepositorySettingsKey};
use pierhead_storage_format::identity::records::{GrantRecord, Level, RepositorySettingsRecord};
use pierhead_storage_format::keys::{OrganisationKey, RepositoryKey};
use pierhead_storage_format::records::{OrganisationRecord, RepositoryRecord};

use super::PushRules;
use super::rows::next_number;
use crate::services::access::{Access, Action, Actor, Author, Resource};
use crate::services::error::Error;
use crate::services::names::RepositoryName;
use crate::services::organisations::{clear_rights, establish};
use crate::stores::meta::Tx;

/// By whom, when, and what may be made.
pub struct Making {
    /// What may be made.
    pub rules: PushRules,
    /// Decides, and knows what is left under a name.
    pub access: Access,
    /// Who pushes.
    pub actor: Actor,
    /// UTC milliseconds.
    pub now: u64,
}

impl Making {
    /// Makes a repository that is not there, if who pushes may make one; its number. It is private and
    /// nobody's but its organisation's, whatever an earlier one of its name was.
    pub fn repository(&self, tx: &mut Tx<'_>, name: &RepositoryName) -> Result<u64, Error> {
        let resource = Resource::Repository(name.clone());
        self.access.authorise(&self.actor, Action::CreateRepository, resource)?;
        let author = self.access.author(&self.actor, name);
        let organisation = self.organisation(tx, name, author.as_ref())?;
        let id = next_number(tx, "repository")?;
        let whole = name.as_str().to_owned();
        tx.put(&RepositoryKey { name: whole.clone() }, &RepositoryRecord { id, created_at: self.now })?;
        clear_rights(tx, &self.access, name)?;
        let Some(author) = author else {
            tx.delete(&RepositorySettingsKey { name: whole })?;
            return Ok(id);
        };
        let creator = Some(author.creator.clone());
        let settings = RepositorySettingsRecord { creator, ..RepositorySettingsRecord::default() };
        tx.put(&RepositorySettingsKey { name: whole.clone() }, &settings)?;
        if !author.manages {
            let grant = GrantRecord { organisation, level: Level::Manage, granted_at: self.now };
            tx.put(&GrantKey { user: author.creator.id, name: whole }, &grant)?;
        }
        Ok(id)
    }

    /// The number of the organisation, made if it is not there and may be.
    fn organisation(
        &self,
        tx: &mut Tx<'_>,
        name: &RepositoryName,
        author: Option<&Author>,
    ) -> Result<u64, Error> {
        let key = OrganisationKey { name: name.organisation().to_owned() };
        if let Some(record) = tx.get(&key)? {
            return Ok(record.number);
        }
        if !self.rules.create_organisations {
            return Err(Error::OrganisationUnknown(name.clone()));
        }
        if let Some(author) = author {
            let (creator, limit) = (Some(author.creator.clone()), self.rules.organisations);
            return establish(tx, key, author.account, creator, limit, self.now);
        }
        let number = next_number(tx, "organisation")?;
        let record = OrganisationRecord { number, created_at: self.now, owner: None, creator: None };
        tx.put(&key, &record)?;
        Ok(number)
    }
}
