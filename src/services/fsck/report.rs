//! What was found, and the list of what is looked for.

use std::collections::BTreeMap;

use pierhead_storage_format::keys::TableKey;
use serde::Serialize;

use super::Options;
use super::fix::{Fix, How, MAX_ROWS, RowChange};

/// Findings of one id that are kept; more are only counted.
pub const MAX_FINDINGS: u64 = 1000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Start-up will clear it by itself, or it is a leftover that says nothing any more.
    Note,
    /// Space is wasted; nothing is lost or wrong for a client.
    Warning,
    /// A client may get less or other than what was stored, or somebody may do more or less than
    /// he was allowed.
    Error,
}

/// One breach of one invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The invariant's number in `FORMAT.md`.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What is wrong with which repository, tag or digest.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
    /// The first images that need the blob it is about, as `repository:tag` or `repository@digest`; the last says so if
    /// not all places were looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows of all tables.
    pub rows: u64,
    /// Repositories.
    pub repositories: u64,
    /// Manifests whose bytes were read; one that is in two repositories counts twice.
    pub manifests: u64,
    /// Blob rows.
    pub blobs: u64,
    /// Bytes of those blobs.
    pub bytes: u64,
    /// Files below `blobs/`.
    pub files: u64,
    /// Blobs that were hashed.
    pub hashed: u64,
}

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The first [`MAX_FINDINGS`] of each id, in the order they were found.
    pub findings: Vec<Finding>,
    /// How many there were of each id.
    pub by_id: BTreeMap<&'static str, u64>,
    /// How much was looked at.
    pub counts: Counts,
    /// What could be done, up to [`MAX_ROWS`] rows of what loses nothing, and as many of the rest.
    #[serde(skip)]
    pub fixes: Vec<Fix>,
    /// Whether nobody wants to know that.
    #[serde(skip)]
    without_fixes: bool,
    /// How many rows those change that lose nothing, and those that lose something if rows are missing.
    #[serde(skip)]
    fixed_rows: [usize; 2],
    /// Whether a start removes a file, or what the log of small blobs has, that no row names.
    #[serde(skip)]
    clears_files: bool,
    /// Rows whose original is not there at all: by id, the first.
    #[serde(skip)]
    orphans: BTreeMap<&'static str, String>,
    /// The worst severity found.
    worst: Option<Severity>,
}

/// Breaches that say that rows may be missing: then a lower count, or a row that finds nothing, may be what is left of them.
const LOSSES: [&str; 9] = ["R1", "R3", "R10", "R11", "R13", "R14", "R18", "R21", "R24"];
/// Breaches after which nobody knows what all the rows are.
const UNKNOWN_ROWS: [&str; 4] = ["M1", "M6", "M8", "R12"];

impl Report {
    /// An empty one.
    pub(super) fn of(options: Options) -> Self {
        Self { without_fixes: !options.fixes, ..Self::default() }
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        let count = self.by_id.entry(finding.id).or_default();
        *count += 1;
        self.worst = self.worst.max(Some(finding.severity));
        if *count <= MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Adds a finding of an invariant of this room.
    pub(super) fn find(&mut self, invariant: &Invariant, what: String) {
        self.find_of(invariant, what, Vec::new());
    }

    /// The same, with the images it concerns.
    pub(super) fn find_of(&mut self, invariant: &Invariant, what: String, images: Vec<String>) {
        let Invariant { id, severity, advice, .. } = *invariant;
        self.add(Finding { id, severity, what, advice, images });
    }

    /// Whether one more finding of an invariant would be kept.
    pub(super) fn keeps(&self, invariant: &Invariant) -> bool {
        self.by_id.get(invariant.id).is_none_or(|count| *count < MAX_FINDINGS)
    }

    /// Adds what can be done about a breach.
    pub(super) fn fix(&mut self, invariant: &Invariant, does: String, how: How) {
        self.add_fix(Fix { id: invariant.id, does, how, loses: false });
    }

    /// The same, of something that loses what it gives up if rows are missing.
    pub(super) fn fix_that_loses(&mut self, invariant: &Invariant, does: String, how: How) {
        self.add_fix(Fix { id: invariant.id, does, how, loses: true });
    }

    /// That a row is set.
    pub(super) fn fix_by_row<K: TableKey>(
        &mut self,
        invariant: &Invariant,
        does: String,
        key: &K,
        record: &K::Record,
    ) {
        if let Some(row) = RowChange::put(key, record) {
            self.fix(invariant, does, How::Rows(vec![row]));
        }
    }

    /// That a row that says nothing any more goes.
    pub(super) fn fix_by_removal<K: TableKey>(&mut self, invariant: &Invariant, does: String, key: &K) {
        self.fix_that_loses(invariant, does, How::Rows(vec![RowChange::remove(key)]));
    }

    fn add_fix(&mut self, fix: Fix) {
        let is_known = fix.how == How::Recount && self.fixes.iter().any(|known| known.how == How::Recount);
        // Counted apart: those that are held back do not keep the others out.
        let rows = &mut self.fixed_rows[usize::from(fix.loses)];
        if !self.without_fixes && !is_known && *rows < MAX_ROWS {
            *rows = rows.saturating_add(fix.rows());
            self.fixes.push(fix);
        }
    }

    /// A row mirrors one that is not there at all: it is too much, or what is left of one that was lost, and nobody can
    /// tell which. So nothing is done about it, and `advice` is its own.
    pub(super) fn find_orphan(&mut self, invariant: &Invariant, advice: &'static str, what: String) {
        let Invariant { id, severity, .. } = *invariant;
        self.orphans.entry(id).or_insert_with(|| what.clone());
        self.add(Finding { id, severity, what, advice, images: Vec::new() });
    }

    /// A start removes a file, or what the log of small blobs has, that never got a row, or lost it.
    pub(super) fn is_cleared(&mut self) {
        self.clears_files = true;
    }

    /// Whether a start removes bytes whose rows may be what is missing.
    pub fn clears_what_may_be_needed(&self) -> bool {
        self.clears_files && self.has_losses()
    }

    /// Whether rows may be missing.
    pub fn has_losses(&self) -> bool {
        self.all_losses().next().is_some()
    }

    /// What says that rows may be missing: every finding that is kept, but of rows whose original is not there at all
    /// the first of each id.
    pub fn all_losses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let of = |id: &'static str| self.findings.iter().filter(move |finding| finding.id == id);
        let found =
            LOSSES.iter().flat_map(move |id| of(id)).map(|finding| (finding.id, finding.what.as_str()));
        found.chain(self.orphans.iter().map(|(id, what)| (*id, what.as_str())))
    }

    /// Whether it is not known what all the rows are: then nothing may be derived from them.
    pub fn has_unknown_rows(&self) -> bool {
        UNKNOWN_ROWS.iter().any(|id| self.by_id.contains_key(id))
    }

    /// Adds a finding of the metadata's own check (M1 to M8), of uploads (U1 to U3, S1), or of the audit trail
    /// (A1 to A3), by its id.
    pub fn add_metadata(&mut self, id: &'static str, what: String) {
        let (severity, advice) = METADATA
            .iter()
            .find(|(known, ..)| *known == id)
            .map_or((Severity::Error, RESTORE), |(_, severity, advice)| (*severity, *advice));
        self.add(Finding { id, severity, what, advice, images: Vec::new() });
    }

    /// The same of something that the disk does not give: it may hold, and a start leaves it as it is.
    pub(super) fn add_unread(&mut self, id: &'static str, what: String) {
        let advice = if id == "S1" { UNREAD_SEGMENT } else { UNREAD };
        self.add(Finding { id, severity: Severity::Warning, what, advice, images: Vec::new() });
    }

    /// Whether nothing is wrong; what start-up clears by itself is not.
    pub fn is_clean(&self) -> bool {
        self.worst.is_none_or(|worst| worst == Severity::Note)
    }
}

/// Something that always holds in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Its number in `FORMAT.md`.
    pub id: &'static str,
    /// How bad a breach is.
    pub severity: Severity,
    /// What holds, word for word as in `FORMAT.md`.
    pub holds: &'static str,
    /// What to do about a breach.
    pub advice: &'static str,
}

const PUSH_AGAIN: &str = "push the image again from a machine that has it, or delete the tag";
const DEFECT: &str = "no content is lost; keep a copy of the data directory and report this as a defect";
const REPAIR: &str = "no content is lost: `pierhead fsck --repair` sets it right; keep a copy of the data directory and report \
                      this as a defect";
/// Of rows that mirror one that is not there at all.
pub(super) const ORPHAN: &str = "a repair leaves it, and gives nothing up while it is there, since what it mirrors may have been lost: push that again \
     where it says (then delete it, if nobody wants it), or restore the newest backup if more is missing";
/// Of names that find nobody.
pub(super) const ORPHAN_NAME: &str = "a repair leaves it, and gives nothing up while it is there, since who had the name may have been lost: look through who \
     there is, and restore the newest backup if somebody is missing; else nobody has the name, and it cannot be given anew";
/// Of what a deleted manifest keeps that is not there itself.
pub(super) const ORPHAN_KEPT: &str = "a repair leaves it, and gives nothing up while it is there, since the deleted manifest may have been lost: restore the \
     newest backup if it is to be brought back; else the blob takes its space, and nothing else is wrong with it";
const REPAIR_RIGHTS: &str = "look through who may do what; `pierhead fsck --repair` makes the row anew from what it is of; report \
                             this as a defect";
const REPAIR_NUMBER: &str = "`pierhead fsck --repair` raises the counter above every number in use; keep a copy of the data \
                             directory and report this as a defect";
const RESTORE: &str =
    "keep a copy of the data directory, restore the newest backup, and report this as a defect";
const EXTRA: &str = "the file only takes space: `pierhead fsck --repair` moves it to quarantine/, if its name is that of a blob";
const ADVICE: &str = "no content is lost: `pierhead fsck --repair` makes it anew, or delete it; if it happens again without a \
                      power cut, check the disk";
const MAKE: &str = "nothing, or `pierhead fsck --repair`: checks of this blob take longer, and cannot say which part is damaged";
const WAIT: &str = "nothing: the next start removes it";
const HEAL: &str = "check the disk; run `pierhead fsck --deep --repair`, so that clients are told that the blob is not there, then push \
                    an image that contains it again: that heals it for all";

const RECOUNT: &str = "no content is lost, but storage quotas let in too much or too little: `pierhead fsck --repair` \
                       counts again; report this as a defect";
const LEFTOVER: &str = "nothing: it says nothing any more and may stay; `pierhead fsck --repair` removes it";
const HEALED: &str = "nothing: the scrub looks again and removes the note";
const RIGHTS: &str = "keep a copy of the data directory, look through who may do what, give the right anew where it \
                      is missing, and report this as a defect";
const DOCUMENT: &str = "until it can be read, who has the policy may do nothing, or less is denied than was meant: \
                        set its document again";
const ATTRIBUTES: &str = "an image pushed under that name would be public at once: make the repository and make it \
                          private, and report this as a defect";

const POLICY: &str = "until then the policy removes nothing: set it again with `pierhead retention set`";

const REBUILT: &str = "no content is lost: the next start rebuilds the index; report this as a defect";
const STANDS_IN: &str = "an older snapshot and the journal stand in; check the disk";
const CUT: &str = "nothing: it was never acknowledged, and the next start leaves it out";
const CLEARED: &str = "nothing: the next start removes or rebuilds it";
const EVENTS: &str = "no content is lost, but what was recorded there cannot be read; check the disk. The file goes with its day";

const UNUSABLE: &str =
    "nothing: no answer counted on it, and the next start, or `pierhead fsck --repair`, removes it";
const SHORT: &str = "nothing: the next start goes on at the last checkpoint that holds; check the disk if there was no power cut";
const UNREAD: &str = "check the disk: every start leaves it where it is, and goes on with it if it can be read then; else move \
                      its folder away";
const UNREAD_SEGMENT: &str = "check the disk, and keep the segment where it is: it may have the only copy of small blobs. Where it can be read \
                              again, start the server; push the images that B1 and B3 name";
const STRANGE: &str = "it is not Pierhead's: move it away";
const NO_SEGMENT: &str = "check the disk. What it had is in its files, or is named by B1 and B3: push those images again. Then move \
                          the segment away";

/// What the checks of the metadata, of uploads and of the audit trail find, by id; stated in `FORMAT.md` too.
pub const METADATA: &[(&str, Severity, &str)] = &[
    ("M1", Severity::Error, RESTORE),
    ("M2", Severity::Note, CUT),
    ("M3", Severity::Warning, REBUILT),
    ("M4", Severity::Warning, STANDS_IN),
    ("M5", Severity::Note, CLEARED),
    ("M6", Severity::Error, RESTORE),
    ("M7", Severity::Note, CLEARED),
    ("M8", Severity::Error, RESTORE),
    ("U1", Severity::Note, UNUSABLE),
    ("U2", Severity::Note, SHORT),
    ("U3", Severity::Warning, STRANGE),
    ("S1", Severity::Warning, NO_SEGMENT),
    ("A1", Severity::Warning, EVENTS),
    ("A2", Severity::Warning, EVENTS),
    ("A3", Severity::Note, CLEARED),
];

macro_rules! invariants {
    ($($name:ident, $id:literal, $severity:ident, $advice:ident, $holds:literal;)*) => {
        $(pub(super) const $name: Invariant =
            Invariant { id: $id, severity: Severity::$severity, holds: $holds, advice: $advice };)*
        /// Everything that is checked, in the order of `FORMAT.md`. (`BN` is a breach of B2 that
        /// start-up clears, and has the number B2 too; `R25_PUBLIC` is one of R25 that gives rights.)
        #[cfg(test)]
        pub const INVARIANTS: &[Invariant] = &[$($name),*];
    };
}

invariants! {
    R1, "R1", Error, PUSH_AGAIN, "Every tag names a manifest row of its repository.";
    R2, "R2", Error, REPAIR, "`manifest-tag` rows mirror `tag` rows.";
    R3, "R3", Error, PUSH_AGAIN, "Config and layers of every image manifest, but non-distributable layers and those noted as absent, are `repository-blob` rows of its repository.";
    R4, "R4", Error, REPAIR, "`repository-blob.references` is the number of image manifests of that repository that name the blob and do not note it as absent.";
    R5, "R5", Error, REPAIR, "`blob.references` is the number of `repository-blob`, `manifest` and `deleted-reference` rows of that digest.";
    R6, "R6", Error, REPAIR, "`blob-repository` rows mirror `repository-blob` rows.";
    R7, "R7", Error, REPAIR, "`referrer` rows mirror the subjects of `manifest` rows.";
    R8, "R8", Error, REPAIR, "The counters of a repository (`tags`, `manifests`, `blobs`, `bytes`) equal a recount.";
    R9, "R9", Error, REPAIR_NUMBER, "The counter `repository` is above the number of every repository.";
    R10, "R10", Error, DEFECT, "The first component of every repository's name is an `organisation` row.";
    R11, "R11", Error, RESTORE, "Rows below a repository's number belong to exactly one `repository` row.";
    R12, "R12", Error, RESTORE, "Every key parses and every record decodes.";
    R13, "R13", Error, PUSH_AGAIN, "Every `manifest` row and `repository-blob` row has a `blob` row of the same size.";
    R14, "R14", Error, PUSH_AGAIN, "A `manifest` row of kind image or index agrees with its bytes: they parse, and name its subject.";
    R15, "R15", Error, REPAIR, "`manifest-reference` rows mirror what the bytes of the manifests name; a config or layer may be noted as absent.";
    R16, "R16", Error, REPAIR_RIGHTS, "`account-name` rows mirror `account` rows.";
    R17, "R17", Error, REPAIR_RIGHTS, "`user-name` rows mirror `user` rows.";
    R18, "R18", Error, RIGHTS, "The account of every `user`, `group` and `policy` row is an `account` row, or has a counter `removal of account <account>`.";
    R19, "R19", Note, LEFTOVER, "The user of every `access-key`, `login`, `grant` and `favourite` row is a `user` row, the account of every `share` row an `account` row, the key of every `access-key-use` row an `access-key` row.";
    R20, "R20", Note, LEFTOVER, "Both ends of every `group-member` row are there.";
    R21, "R21", Error, RIGHTS, "Every policy that a `user` or `group` row names is a `policy` row.";
    R22, "R22", Note, LEFTOVER, "Every `text` row belongs to a policy or a repository.";
    R23, "R23", Error, DOCUMENT, "The parts of a text are numbered from 0 without a gap, and those of a policy are a document that parses.";
    R24, "R24", Error, RIGHTS, "The owner of every organisation that has one is an `account` row.";
    R25, "R25", Note, LEFTOVER, "Every `repository-settings` row belongs to a repository.";
    R25_PUBLIC, "R25", Error, ATTRIBUTES, "Every `repository-settings` row belongs to a repository.";
    R26, "R26", Note, LEFTOVER, "The organisation's number in every `grant` and `share` row is that of the organisation that has the name now.";
    R27, "R27", Error, REPAIR, "The counter `organisations of <account>` equals a recount.";
    R28, "R28", Error, RESTORE, "The counter `organisation` is above the number of every organisation, and no number but 0 comes twice.";
    R29, "R29", Error, REPAIR, "The counters `access keys of <user>` and `logins of <user>` equal a recount.";
    R30, "R30", Note, LEFTOVER, "Every `repository-pulls` row belongs to a repository, every `account-day` row to an account.";
    R40, "R40", Error, RECOUNT, "`organisation-blob` rows say how many `repository-blob` and `manifest` rows of the organisation's repositories have the digest, and of which size.";
    R41, "R41", Error, RECOUNT, "`organisation-usage` rows are the sums of `organisation-blob` rows.";
    R42, "R42", Error, RECOUNT, "The counter `bytes of <account>` is the sum of what its organisations hold.";
    R43, "R43", Note, LEFTOVER, "Every `organisation-quota` row belongs to an organisation, every `account-quota` row to an account.";
    R50, "R50", Warning, REPAIR, "`unreferenced` rows mirror `blob` rows and `repository-blob` rows whose `references` are 0.";
    R51, "R51", Error, DEFECT, "Every `deleted-manifest` row has a `deleted-reference` row of its digest, and every `deleted-reference` row a `deleted-manifest` row and a `blob` row.";
    R52, "R52", Error, REPAIR_NUMBER, "The counter `deleted manifest` is above the number of every deleted manifest.";
    R53, "R53", Note, LEFTOVER, "Every `removal` row names a repository of that number.";
    R60, "R60", Note, LEFTOVER, "Every `retention`, `retention-log` and `retention-state` row belongs to a repository.";
    R61, "R61", Error, REPAIR_NUMBER, "The counter `retention` is above the number of every `retention` row, and no number comes twice.";
    R62, "R62", Error, POLICY, "The `text` of every `retention` row is selectors that parse, and its `name` is that of its repository.";
    R63, "R63", Warning, DEFECT, "The `retention-log` rows of a repository are numbered without a gap up to the `next` of its `retention-state`, 1,000 of them at most.";
    R70, "R70", Note, LEFTOVER, "Every `damage` row has a `blob` row of its size.";
    R71, "R71", Note, HEALED, "A blob with a `damage` row is damaged or missing still.";
    B1, "B1", Error, HEAL, "Every `blob` row has a file of its size.";
    B2, "B2", Warning, EXTRA, "Every file below `blobs/` has a `blob` row.";
    BN, "B2", Note, WAIT, "Every file below `blobs/` has a `blob` row.";
    B3, "B3", Error, HEAL, "The bytes of every blob hash to its digest.";
    B4, "B4", Warning, ADVICE, "Every outboard holds, and is of the blob beside it.";
    B5, "B5", Note, MAKE, "Every blob of more than 1 MiB has an outboard.";
}
