//! Who may read and write what: secrets for their owner only, everything in the data directory the
//! server's own.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pierhead_storage_format::paths;

use super::Finding;
use crate::config::{Presented, Settings};

pub(super) struct Facts {
    /// The data directory, if it is there.
    pub(super) data: Option<About>,
    /// Private keys and the like that are there.
    pub(super) secrets: Vec<About>,
    /// What else the server must be able to write.
    pub(super) own: Vec<About>,
    /// What may not be looked at.
    pub(super) unseen: Vec<PathBuf>,
}

#[derive(Clone)]
pub(super) struct About {
    pub(super) path: PathBuf,
    pub(super) owner: u32,
    /// Permission bits.
    pub(super) mode: u32,
}

pub(super) fn look(data: &Path, settings: &Settings) -> Facts {
    let mut unseen = Vec::new();
    let mut about = |path: PathBuf| match fs::metadata(&path) {
        Ok(found) => Some(About { path, owner: found.uid(), mode: found.mode() & 0o777 }),
        Err(error) => {
            if error.kind() == ErrorKind::PermissionDenied {
                unseen.push(path);
            }
            None
        }
    };
    let mut secrets = vec![data.join(&settings.identity.key_file)];
    secrets.extend([paths::TLS_CA_KEY, paths::TLS_SERVER].map(|path| data.join(path)));
    if let Presented::Files(_, key) = settings.tls.presented() {
        secrets.push(key.to_owned());
    }
    let own = [paths::FORMAT, paths::LOCK, paths::JOURNAL, paths::BLOBS, paths::UPLOADS, paths::AUDIT];
    let (folder, secrets) = (about(data.to_owned()), secrets.into_iter().filter_map(&mut about).collect());
    let own = own.into_iter().filter_map(|path| about(data.join(path))).collect();
    Facts { data: folder, secrets, own, unseen }
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(path) = facts.unseen.first() {
        let what = format!("{} may not be looked at by this user", path.display());
        findings.push(Finding::warn("files", what, "run this as root or as the service's user"));
    }
    for secret in facts.secrets.iter().filter(|secret| secret.mode & 0o077 != 0) {
        let path = secret.path.display();
        let group_only = secret.mode & 0o007 == 0;
        let what = format!("{path} is secret and has mode {:04o}", secret.mode);
        let advice = format!("chmod 0600 {path}");
        let told = if group_only { Finding::warn } else { Finding::fail };
        findings.push(told("files", what, advice));
    }
    let Some(data) = &facts.data else { return findings };
    if data.mode & 0o007 != 0 {
        let path = data.path.display();
        let what = format!("{path} can be entered by everybody (mode {:04o})", data.mode);
        findings.push(Finding::warn("files", what, format!("chmod 0750 {path}")));
    }
    for file in facts.own.iter().filter(|file| file.owner != data.owner) {
        let (path, top) = (file.path.display(), data.path.display());
        let what = format!("{path} belongs to user {}, and {top} to user {}", file.owner, data.owner);
        let advice = format!("stop the server, then: chown -R --reference={top} {top}");
        findings.push(Finding::fail("files", what, advice));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("files", "owners and permissions are right"));
    }
    findings
}
