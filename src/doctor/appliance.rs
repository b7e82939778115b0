//! What the running server says of itself on its admin socket: asked by the command line, judged here. A server
//! that cannot be asked is no finding of its own; `store` and `network` see what is wrong then.

use super::Finding;

/// What a running server said.
#[derive(Clone, Debug)]
pub struct Told {
    /// Of its program.
    pub version: String,
    /// Whether there is an account, so that somebody can sign in.
    pub begun: bool,
    /// Why no metadata can be written for now, if so.
    pub read_only: Option<String>,
    /// Whether metadata are answered from memory, the index being unusable.
    pub in_memory: bool,
    /// Why not everything is recorded in the audit trail, if so.
    pub audit: Option<String>,
    /// Blobs that are damaged or missing.
    pub findings: u64,
    /// Rows of the index, if it says that.
    pub rows: Option<u64>,
}

/// `version` is this program's.
pub(super) fn judge(told: Option<&Told>, version: &str) -> Vec<Finding> {
    let check = "server";
    let Some(told) = told else { return Vec::new() };
    let mut findings = Vec::new();
    if told.version != version {
        let what = format!("version {} runs, and this program is {version}", told.version);
        findings.push(Finding::warn(
            check,
            what,
            "restart it to run what is installed: systemctl restart pierhead",
        ));
    }
    if !told.begun {
        let advice = "pierhead init makes the first (a lab needs none)";
        findings.push(Finding::warn(check, "there is no account yet: nobody can sign in", advice));
    }
    if let Some(why) = &told.read_only {
        let advice = "look at the disk, `dmesg` and journalctl -u pierhead; it goes on by itself when it can";
        findings.push(Finding::fail(check, format!("no push or change is taken: {why}"), advice));
    }
    if told.in_memory {
        let advice = "look at the disk and at journalctl -u pierhead; a restart makes the index again";
        findings.push(Finding::warn(
            check,
            "the metadata index cannot be used; answers come from memory",
            advice,
        ));
    }
    if let Some(why) = &told.audit {
        let advice = "docs/audit.md says what to do; what was not recorded is counted in `pierhead status`";
        findings.push(Finding::warn(check, format!("the audit trail is not complete: {why}"), advice));
    }
    if told.findings > 0 {
        let what = format!("{} blobs are damaged or missing", told.findings);
        let advice = "pierhead scrub findings names the images: push them again (docs/backup.md)";
        findings.push(Finding::fail(check, what, advice));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, format!("version {version} runs, and says that it is well")));
    }
    findings
}
