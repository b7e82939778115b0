//! The way to a folder, looked at name by name as the kernel goes it, links one by one: whether the owner of a store may
//! change a name on it, and so lead elsewhere who goes it. That the owner cannot come to a folder now says nothing: that
//! user may have come there before it was closed.
//!
//! What this cannot see: groups of the owner beside the store's.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The kernel follows as many.
const MOST_LINKS: usize = 40;

/// Whose a store is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// What is on the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A name that the owner may change, or a folder of the owner's at its end.
    Theirs,
    /// It is there, and no name on the way or in it is the owner's to change.
    Ours,
    /// The same up to a folder that is not there.
    Missing(Missing),
}

/// The first folder that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Where it has to be made, without links.
    pub(super) folder: PathBuf,
    /// Whether it is the one that is gone to.
    pub(super) is_last: bool,
    /// Whether the owner may go where it has to be made, as far as modes say.
    pub(super) is_reachable: bool,
}

/// Looks at the way to an absolute path. An error is also a link that leads nowhere: the disk behind it may not be mounted.
pub(super) fn look(to: &Path, owner: Owner) -> io::Result<Way> {
    let mut walk = Walk {
        owner,
        at: PathBuf::new(),
        rest: reversed(to),
        links: 0,
        linked: usize::MAX,
        is_reachable: true,
    };
    while let Some(name) = walk.rest.pop() {
        if let Some(found) = walk.step(name)? {
            return Ok(found);
        }
    }
    Ok(Way::Ours)
}

/// Parts of a path, the first one last.
fn reversed(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
}

struct Walk {
    owner: Owner,
    /// Without links.
    at: PathBuf,
    rest: Vec<OsString>,
    links: usize,
    /// As many names, and more, are left while those of a link are gone through.
    linked: usize,
    is_reachable: bool,
}

impl Walk {
    /// Goes on by one name; something if that settles it.
    fn step(&mut self, name: OsString) -> io::Result<Option<Way>> {
        if name == "." || name == ".." {
            if name == ".." {
                self.at.pop();
            }
            return Ok(None);
        }
        let next = self.at.join(name);
        let found = match fs::symlink_metadata(&next) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.rest.len() < self.linked => {
                let (is_last, is_reachable) = (self.rest.is_empty(), self.is_reachable);
                return Ok(Some(Way::Missing(Missing { folder: next, is_last, is_reachable })));
            }
            found => found?,
        };
        if found.is_symlink() { self.follow(&next, &found) } else { Ok(self.enter(next, &found)) }
    }

    fn follow(&mut self, link: &Path, found: &Metadata) -> io::Result<Option<Way>> {
        if found.uid() == self.owner.user {
            return Ok(Some(Way::Theirs));
        }
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(io::Error::other("too many symbolic links"));
        }
        self.linked = self.linked.min(self.rest.len());
        self.rest.extend(reversed(&fs::read_link(link)?));
        Ok(None)
    }

    fn enter(&mut self, next: PathBuf, found: &Metadata) -> Option<Way> {
        if may_change(found, self.owner) {
            return Some(Way::Theirs);
        }
        self.is_reachable &= may(found, self.owner, 0o1);
        self.at = next;
        None
    }
}

/// Whether the owner may change the names in a folder, or its mode. In a sticky one those that are there are their users'.
fn may_change(folder: &Metadata, owner: Owner) -> bool {
    const STICKY: u32 = 0o1000;
    let may_write = may(folder, owner, 0o2) && may(folder, owner, 0o1);
    folder.uid() == owner.user || may_write && folder.mode() & STICKY == 0
}

/// Whether the owner has a right (1 to go through, 2 to write), as far as a mode says.
fn may(folder: &Metadata, owner: Owner, right: u32) -> bool {
    let right = match folder {
        _ if folder.uid() == owner.user => right << 6,
        _ if folder.gid() == owner.group => right << 3,
        _ => right,
    };
    folder.mode() & right != 0
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    const THEM: Owner = Owner { user: 65534, group: 65533 };
    const BOB: u32 = 65532;

    fn folder(path: &Path, user: u32, group: u32, mode: u32) {
        fs::create_dir(path).expect("made");
        chown(path, Some(user), Some(group)).expect("root may");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
    }

    /// Folders and links of all kinds.
    fn tree(top: &Path) {
        fs::set_permissions(top, Permissions::from_mode(0o755)).expect("ours");
        for (name, user, group, mode) in [
            ("roots", 0, 0, 0o755),
            ("roots/in", 0, 0, 0o750),
            ("theirs", THEM.user, THEM.group, 0o700),
            ("theirs/roots", 0, 0, 0o700),
            ("closed", 0, 0, 0o700),
            ("closed/theirs", THEM.user, THEM.group, 0o750),
            ("closed/theirs/roots", 0, 0, 0o750),
            ("some", 0, BOB, 0o750),
            ("some/theirs", THEM.user, THEM.group, 0o750),
            ("bobs", BOB, BOB, 0o755),
            ("group", 0, THEM.group, 0o775),
            ("all", 0, 0, 0o777),
            ("all/in", 0, 0, 0o755),
            ("sticky", 0, 0, 0o1777),
            ("sticky/in", 0, 0, 0o755),
            ("sticky/theirs", THEM.user, 0, 0o755),
        ] {
            folder(&top.join(name), user, group, mode);
        }
        for (link, to) in [
            ("link", "roots"),
            ("aside", "theirs/roots"),
            ("closed/out", "../theirs"),
            ("closed/far", "/nowhere/at/all"),
            ("sticky/link", "../roots"),
            ("loop", "loop"),
        ] {
            symlink(to, top.join(link)).expect("made");
        }
        lchown(top.join("sticky/link"), Some(THEM.user), None).expect("root may");
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "who runs it has to see that it was skipped")]
    fn a_way_is_the_owners_where_he_may_change_a_name_on_it() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: folders are given away by root alone");
            return;
        }
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let top = scratch.path().canonicalize().expect("there");
        tree(&top);
        let theirs = || Ok(Way::Theirs);
        let missing = |folder: &str, is_last, is_reachable| {
            Ok(Way::Missing(Missing { folder: top.join(folder), is_last, is_reachable }))
        };
        let rows = [
            ("roots/in", Ok(Way::Ours)),
            ("link/in", Ok(Way::Ours)),
            ("bobs", Ok(Way::Ours)),
            ("sticky/in", Ok(Way::Ours)),
            ("closed", Ok(Way::Ours)),
            ("closed/theirs", theirs()),
            ("theirs", theirs()),
            ("theirs/new", theirs()),
            ("theirs/roots", theirs()),
            ("theirs/roots/new", theirs()),
            ("roots/../theirs/roots", theirs()),
            ("aside", theirs()),
            ("closed/out", theirs()),
            ("closed/../theirs", theirs()),
            ("closed/theirs/roots", theirs()),
            ("closed/theirs/new", theirs()),
            ("some/theirs", theirs()),
            ("group/new", theirs()),
            ("all", theirs()),
            ("all/in", theirs()),
            ("sticky/theirs", theirs()),
            ("sticky/link", theirs()),
            ("roots/a", missing("roots/a", true, true)),
            ("link/a/b", missing("roots/a", false, true)),
            ("sticky/a", missing("sticky/a", true, true)),
            ("closed/a/b", missing("closed/a", false, false)),
            ("some/a", missing("some/a", true, false)),
            ("closed/far", Err(())),
            ("closed/far/new", Err(())),
            ("loop", Err(())),
        ];
        for (to, expected) in rows {
            assert_eq!(look(&top.join(to), THEM).map_err(|_| ()), expected, "{to}");
        }
    }
}
