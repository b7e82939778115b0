//! Samples of retention.

use pierhead_storage_format::identity::keys::{TextKey, TextOwner};
use pierhead_storage_format::identity::records::TextRecord;
use pierhead_storage_format::retention::{
    RetentionKey, RetentionKind, RetentionLogKey, RetentionLogRecord, RetentionRecord, RetentionStateKey,
    RetentionStateRecord,
};
use pierhead_storage_format::{Algorithm, Digest};

use super::{REPOSITORY, Sample, TIME, sample};

const SELECTORS: &str = r#"[{"kind":"regexp","pattern":"^v2.*$"}]"#;
const RULE: &str = r#"{"template":"date_rule","params":{"days":"3"},"tag_selectors":[{"kind":"regexp","pattern":"^v2.*$"}]}"#;

fn policy(kind: RetentionKind, amount: u64) -> RetentionRecord {
    let name = "acme/web/front".to_owned();
    RetentionRecord { number: 34, name, kind, amount, created_at: TIME, updated_at: TIME + 1 }
}

fn log() -> RetentionLogRecord {
    let digest = Digest::new(Algorithm::Sha256, &[0x10; 32]).expect("length matches");
    RetentionLogRecord {
        retention: 34,
        tag: "v1.0".into(),
        digest,
        pushed_at: TIME,
        removed_at: TIME + 5 * 86_400_000,
        rule: RULE.into(),
    }
}

fn state() -> RetentionStateRecord {
    RetentionStateRecord {
        retention: 34,
        started_at: TIME,
        ended_at: TIME + 12,
        removed: 3,
        kept: 7,
        exempt: 2,
        problem: None,
        next: 4,
    }
}

/// Every sample.
pub fn samples() -> Vec<Sample> {
    let at = RetentionStateKey { repository: REPOSITORY };
    let other = RetentionStateKey { repository: REPOSITORY + 1 };
    let failed = RetentionStateRecord { problem: Some("the disk is full".into()), ..state() };
    let text = TextKey { owner: TextOwner::Retention(REPOSITORY), part: 0 };
    vec![
        sample(Some("retention"), &text, &TextRecord { part: SELECTORS.into() }),
        sample(None, &RetentionKey { repository: REPOSITORY }, &policy(RetentionKind::Days, 3)),
        sample(
            Some("versions"),
            &RetentionKey { repository: REPOSITORY + 1 },
            &policy(RetentionKind::Versions, 1),
        ),
        sample(None, &RetentionLogKey { repository: REPOSITORY, number: 3 }, &log()),
        sample(None, &at, &state()),
        sample(Some("failed"), &other, &failed),
    ]
}
