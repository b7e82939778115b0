//! Work on a data directory that nobody serves. Whoever can run the command on the host with
//! rights to the directory is the local administrator.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use pierhead_storage_format::paths;
use tokio::runtime::Builder;

use super::people::People;
use super::{StartError, io, store};
use crate::config::Settings;
use crate::seams::SystemClock;
use crate::services::access::{Access, Action, Actor, Options, Permit, Resource, Rules};
use crate::services::fsck::{Report, Stage};
use crate::services::identity::{First, NewAccount};
use crate::services::maintenance;
use crate::stores::disk::{Disk, RealDisk};
use crate::stores::lock::DataLock;
use crate::stores::meta::CheckOptions;

/// Checks the data directory, which no other process may be using. `deep` reads every byte.
pub fn fsck(data: &Path, deep: bool, progress: &mut dyn FnMut(Stage, u64)) -> Result<Report, StartError> {
    let (disk, lock) = existing(data)?;
    check_locked(data, &disk, &lock, deep, progress)
}

/// The same of one that is locked already.
pub(super) fn check_locked(
    data: &Path,
    disk: &Arc<dyn Disk>,
    _lock: &DataLock,
    deep: bool,
    progress: &mut dyn FnMut(Stage, u64),
) -> Result<Report, StartError> {
    let permit = permit()?;
    let metadata = CheckOptions {
        index_dir: Some(data.join(paths::INDEX)),
        scratch: data.join(paths::INDEX_CHECKED),
        cache_bytes: Settings::default().storage.index_cache.bytes(),
    };
    Ok(maintenance::check(&permit, disk, &metadata, deep, progress)?)
}

/// Writes the metadata, engine-neutral, to `output`; gives the number of rows.
pub fn export(data: &Path, output: &mut dyn Write) -> Result<u64, StartError> {
    let permit = permit()?;
    let (disk, _lock) = existing(data)?;
    Ok(maintenance::export(&permit, disk.as_ref(), &SystemClock, output)?)
}

/// Puts exported metadata into a data directory that has none; gives the number of rows.
pub fn import(data: &Path, input: &mut dyn Read) -> Result<u64, StartError> {
    let permit = permit()?;
    let _lock = DataLock::create(data)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(data));
    let is_new = !store::has_format(disk.as_ref(), data)?;
    if is_new {
        store::refuse_foreign(disk.as_ref(), data)?;
    }
    let rows = maintenance::import(&permit, &disk, input)?;
    if is_new {
        store::write_format(disk.as_ref()).map_err(io("cannot write FORMAT"))?;
    }
    Ok(rows)
}

/// Makes the first account in a data directory that nobody serves, which is made if there is none. As the
/// user that owns it: a server of that user could not read what another leaves there.
pub fn initialise(settings: &Settings, new: NewAccount) -> Result<First, StartError> {
    let data = &settings.storage.data;
    if let Ok(folder) = std::fs::metadata(data) {
        let (owner, own) = (folder.uid(), rustix::process::geteuid().as_raw());
        if owner != own {
            return Err(StartError::OthersData { data: data.clone(), owner });
        }
    }
    let runtime = Builder::new_current_thread().enable_all().build().map_err(StartError::Host)?;
    let permit = permit()?;
    let (store, _) = store::open(&settings.storage)?;
    // Nobody asks whether he may, so that the rules do not matter; a lab's do without a warning that there
    // is no account.
    let made = People::open(settings, true, &store).and_then(|people| {
        runtime.block_on(async {
            people.put_in_order().await?;
            Ok(people.identity.initialise(&permit, new).await?)
        })
    });
    store.close();
    made
}

pub(super) fn existing(data: &Path) -> Result<(Arc<dyn Disk>, DataLock), StartError> {
    let lock = DataLock::existing(data)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(data));
    if store::has_format(disk.as_ref(), data)? {
        Ok((disk, lock))
    } else {
        Err(StartError::NoStore(data.to_owned()))
    }
}

pub(super) fn permit() -> Result<Permit, StartError> {
    let access = Access::without_accounts(Rules::Closed(Options::default()));
    Ok(access.authorise(&Actor::LocalAdministrator, Action::MaintainStore, Resource::Registry)?)
}
