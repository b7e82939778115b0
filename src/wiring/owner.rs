//! As whom root backs up. A timer backs up as the server's user, into a folder that an administrator may have begun by hand, as
//! root: what is in it must be that user's. And root does not write where the store's owner may change names, and could lead
//! it elsewhere: no folder or link on the [way] is that user's, nor may that user write to it.
//!
//! - N1: in a folder of the store's owner, or where that user may change a name on the way to it, root goes on as that user, for
//!   good, before anything is written.
//! - N2: a folder that is made anew is given to the store's owner, and those above it, made for it, stay root's, open to all;
//!   unless that user could not come to it (a folder of root's home), or the file system keeps no owners: it is root's then.
//! - N3: a folder that is there, and root's or a third user's, is written to as root, and stays closed to the store's owner.
//!
//! Steps of a new folder, from the top, the way being looked at anew for each: made, opened to all or (the last) given away, the
//! name made durable. A stop leaves empty folders, which the next backup takes as it finds them.

mod way;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::StartError;
use crate::services::backup::BackupError;
use crate::stores::disk::is_full;
use way::{Missing, Owner, Way};

/// Names that somebody else may make, or remove, between two looks before it is given up.
const PATIENCE: usize = 8;

/// Goes on as the owner of the store in `data`, if this is root and `to` is a folder that N1 or N2 make that user's; N2's is
/// made. Call it before there is another thread: only the calling one changes, and those that it makes.
pub fn go_on_as_owner(data: &Path, to: &Path) -> Result<(), StartError> {
    // A store that cannot be looked at is told by what opens it.
    let (true, Ok(store), Ok(to)) = (geteuid().is_root(), fs::metadata(data), std::path::absolute(to)) else {
        return Ok(());
    };
    let owner = Owner { user: store.uid(), group: store.gid() };
    if owner.user == 0 {
        return Ok(());
    }
    match settled(&to, owner).map_err(|source| unusable(&to, source))? {
        true => become_user(owner).map_err(|source| StartError::CannotBecome {
            user: owner.user,
            folder: to,
            source,
        }),
        false => Ok(()),
    }
}

/// Whether it is to be written to by the owner of the store. It is there then, unless that user has to make it.
fn settled(to: &Path, owner: Owner) -> io::Result<bool> {
    for _ in 0..to.components().count() + PATIENCE {
        match way::look(to, owner)? {
            Way::Theirs => return Ok(true),
            Way::Ours => return Ok(false),
            Way::Missing(missing) => make(&missing, owner)?,
        }
    }
    Err(io::Error::other("somebody changes the names of its folders meanwhile"))
}

fn unusable(to: &Path, source: io::Error) -> StartError {
    let error = match is_full(&source) {
        true => BackupError::Full(to.to_owned()),
        false => {
            BackupError::Io { what: format!("making {}, or coming to it, failed", to.display()), source }
        }
    };
    error.into()
}

/// Nobody but root may change its name meanwhile: that was looked at.
fn make(missing: &Missing, owner: Owner) -> io::Result<()> {
    let Missing { folder, is_last, is_reachable } = missing;
    let is_for_all = *is_reachable && !is_last;
    match DirBuilder::new().mode(if is_for_all { 0o755 } else { 0o750 }).create(folder) {
        // Looked at like what was there before.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    if *is_reachable && let Err(error) = hand_over(folder, (*is_last).then_some(owner)) {
        tracing::debug!(%error, folder = %folder.display(), "it stays root's");
    }
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// To its owner, or open to all, whatever root's umask. By descriptor: nothing but a folder of this name changes hands.
fn hand_over(folder: &Path, owner: Option<Owner>) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let made = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    match owner {
        Some(owner) => fchown(&made, Some(owner.user), Some(owner.group)),
        None => made.set_permissions(Permissions::from_mode(0o755)),
    }
}

/// There is no way back.
fn become_user(owner: Owner) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(owner.user), Gid::from_raw(owner.group));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    Ok(set_thread_res_uid(user, user, user)?)
}
