//! An audit trail too large to be made by requests, as Pierhead keeps it: sealed segments of a week, written
//! by the code of its format. A layout that changes is then an error of the compiler.

use std::path::Path;

use pierhead_storage_format::FormatError;
use pierhead_storage_format::audit::{DAY_MS, EventRecord, Item, Rating, SegmentWriter, day_name};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::identity::Id;
use pierhead_storage_format::paths;

use crate::error::BenchError;

/// Events of a segment, as the server seals them.
const SEGMENT: u64 = 32_768;
/// Days the events are spread over.
const DAYS: u64 = 6;
const USERS: u64 = 300;
const REPOSITORIES: u64 = 5_000;
const NAMES: [(&str, &str); 6] = [
    ("listImageTags", "imagetag"),
    ("showImageRepository", "imagerepository"),
    ("listUserNamespaces", "usernamespace"),
    ("postMultipartImagePackage", "images"),
    ("deleteImageTag", "imagetag"),
    ("createDockerConfig", "dockerlogincmd"),
];
/// One event in so many is an incident.
pub const INCIDENT: u64 = 100_000;
/// The user of one event in so many.
pub const RARE: u64 = 1_000_000;
/// The user of one event in so many: about one a frame has one in ten.
pub const SELDOM: u64 = 10_000;

/// A trail by the number of its events, that ends now.
#[derive(Clone, Copy, Debug)]
pub struct Trail {
    /// Events.
    pub events: u64,
    /// UTC milliseconds of the last one.
    pub now: u64,
}

impl Trail {
    /// When an event was.
    pub fn at(self, n: u64) -> u64 {
        let span = u128::from(DAYS * DAY_MS) * u128::from(self.events - n) / u128::from(self.events.max(1));
        self.now - u64::try_from(span).unwrap_or(0)
    }

    /// Writes the segments below a data directory; their bytes.
    pub fn write(self, data: &Path) -> Result<u64, BenchError> {
        let (mut bytes, mut n, mut number) = (0, 0, 1);
        while n < self.events {
            let day = day_name(self.at(n));
            let mut writer = SegmentWriter::new(number, pack);
            let begun = n;
            while n < self.events && n < begun + SEGMENT && day_name(self.at(n)) == day {
                let record = self.event(n).encode().map_err(FormatOrIo::Format)?;
                writer.push(Item { id: self.id(n), record: &record })?;
                n += 1;
            }
            let path = data.join(paths::audit_segment(&day, number));
            let segment = writer.finish()?;
            bytes += segment.len() as u64;
            let written = std::fs::create_dir_all(data.join(paths::audit_day(&day)))
                .and_then(|()| std::fs::write(&path, segment));
            written.map_err(BenchError::io(format!("writing {}", path.display())))?;
            number += 1;
        }
        Ok(bytes)
    }

    fn id(self, n: u64) -> Id {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.at(n).to_be_bytes()[2..]);
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        Id::from_bytes(bytes)
    }

    fn event(self, n: u64) -> EventRecord {
        // Spread, and the same at every run.
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let user = match n {
            n if n % RARE == 7 => "rare".to_owned(),
            n if n % SELDOM == 11 => "seldom".to_owned(),
            _ => format!("user-{}", mixed % USERS),
        };
        let (name, resource_type) = NAMES[usize::try_from(mixed / 7).unwrap_or(0) % NAMES.len()];
        let repository = format!("org-{}/image-{}", mixed % 50, mixed / 11 % REPOSITORIES);
        let incident = n % INCIDENT == 13;
        EventRecord {
            at: self.at(n),
            took: mixed % 40,
            name: name.to_owned(),
            resource_type: resource_type.to_owned(),
            resource: format!("{repository}:v{}", mixed % 9),
            resource_id: String::new(),
            account: Some(Id::from_bytes([(mixed % 20) as u8; 16])),
            account_name: format!("account-{}", mixed % 20),
            user: Some(Id::from_bytes([(mixed % USERS) as u8; 16])),
            user_name: user,
            source: format!("10.1.{}.{}", mixed % 20, mixed % 250),
            code: if incident { 500 } else { 200 },
            rating: if incident { Rating::Incident } else { Rating::Normal },
            request_id: Some(Id::from_bytes(u128::from(mixed.wrapping_mul(n | 1)).to_be_bytes())),
            request: format!(r#"{{"repository":"{repository}"}}"#),
            response: "{}".to_owned(),
        }
    }
}

/// Why a segment was not made.
enum FormatOrIo {
    Format(FormatError),
    Io(std::io::Error),
}

impl From<FormatError> for FormatOrIo {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<FormatOrIo> for BenchError {
    fn from(error: FormatOrIo) -> Self {
        match error {
            FormatOrIo::Format(error) => Self::Trail(error),
            FormatOrIo::Io(error) => Self::io("packing a part of an audit trail")(error),
        }
    }
}

fn pack(raw: &[u8]) -> Result<Vec<u8>, FormatOrIo> {
    zstd::bulk::compress(raw, 3).map_err(FormatOrIo::Io)
}
