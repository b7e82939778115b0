//! As whom root backs up. A timer backs up as the server's user, into a folder that an administrator may have begun by hand, as
//! root: what is in it must be that user's. And root does not write where another user may change names: who has the server
//! could lead it elsewhere.
//!
//! - N1: in a folder of the store's owner, root goes on as that user, for good, before anything is written.
//! - N2: a folder that is made anew, with those above it that are missing, is given to the store's owner; unless that user
//!   could not come to it (a folder of root's home), or the file system keeps no owners: it is root's then.
//! - N3: a folder that is there, and root's or a third user's, is written to as root, and stays closed to the store's owner.
//!
//! Steps of a new folder, from the top: made, given away, the name made durable. A stop leaves empty folders, which the
//! next backup takes as it finds them.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::StartError;

/// Goes on as the owner of the store in `data`, if this is root and what is written to `to` is that user's. Call it before
/// there is another thread: only the calling one changes, and those that it makes.
pub fn go_on_as_owner(data: &Path, to: &Path) -> Result<(), StartError> {
    // What cannot be looked at is told by what opens it.
    let (true, Ok(store), Ok(to)) = (geteuid().is_root(), fs::metadata(data), std::path::absolute(to)) else {
        return Ok(());
    };
    if store.uid() == 0 {
        return Ok(());
    }
    let is_theirs = match fs::metadata(&to) {
        Ok(folder) => folder.uid() == store.uid(),
        Err(error) if error.kind() == ErrorKind::NotFound => make_for(&to, &store),
        Err(_) => false,
    };
    let failed = |source| StartError::CannotBecome { user: store.uid(), folder: to.clone(), source };
    if is_theirs { become_user(store.uid(), store.gid()).map_err(failed) } else { Ok(()) }
}

/// Whether the folder could be made, and given away. What was not made is made, and told, by who opens it.
fn make_for(to: &Path, owner: &Metadata) -> bool {
    let mut there = to.ancestors().skip_while(|folder| !folder.exists());
    if !there.all(|folder| fs::metadata(folder).is_ok_and(|meta| is_passable(&meta, owner))) {
        return false;
    }
    let mut missing: Vec<&Path> = to.ancestors().take_while(|folder| !folder.exists()).collect();
    missing.reverse();
    let made = missing.into_iter().try_for_each(|folder| make_one(folder, owner));
    if let Err(error) = &made {
        tracing::debug!(%error, folder = %to.display(), "it stays root's");
    }
    made.is_ok()
}

/// Whether the owner may go through a folder, as far as its mode says.
fn is_passable(folder: &Metadata, owner: &Metadata) -> bool {
    let bit = match folder {
        _ if folder.uid() == owner.uid() => 0o100,
        _ if folder.gid() == owner.gid() => 0o010,
        _ => 0o001,
    };
    folder.mode() & bit != 0
}

fn make_one(folder: &Path, owner: &Metadata) -> io::Result<()> {
    DirBuilder::new().mode(0o750).create(folder)?;
    // By descriptor: whatever has that name by now, nothing but a folder changes hands.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let made = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    fchown(&made, Some(owner.uid()), Some(owner.gid()))?;
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// There is no way back.
fn become_user(user: u32, group: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    Ok(set_thread_res_uid(user, user, user)?)
}
