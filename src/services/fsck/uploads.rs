//! Uploads under way and the log of small blobs, as an earlier run left them (U1 to U3, S1): whether the next start
//! can go on with them. None of it was ever answered as stored but what rows name, which B1 to B3 look at.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use pierhead_storage_format::upload::{self, CHUNK, Checkpoint};
use pierhead_storage_format::{paths, small};

use super::{Report, Standing, Unreadable};
use crate::stores::disk::Disk;

/// The longest journal that is read.
const MAX_JOURNAL: u64 = 64 << 20;

/// Checks uploads of a store that nobody serves; `deep` proves their bytes. What the disk does not give of one is a
/// finding.
pub fn check_uploads(disk: &dyn Disk, deep: bool, report: &mut Report) -> Result<(), Unreadable> {
    for id in upload_ids(disk, Standing::AtRest)? {
        let path = paths::upload_dir(&id);
        match look(disk, &id, deep) {
            Ok(()) => {}
            Err(Sick { unread: Some(error), .. }) if !Standing::AtRest.finds(&error) => {
                return Err(unreadable(&path)(error));
            }
            Err(Sick { invariant, why, unread: Some(error) }) => {
                report.add_unread(invariant, format!("{}: {why}: {error}", path.display()));
            }
            Err(Sick { invariant, why, .. }) => {
                report.add_metadata(invariant, format!("{}: {why}", path.display()));
            }
        }
    }
    strange_files(disk, Standing::AtRest, report)
}

/// The folders of uploads there are now, but for those that hold intents alone: they are notes for start-up, of files
/// that B2 looks at. One that the disk cannot list is among them: it may be one.
pub fn upload_ids(disk: &dyn Disk, standing: Standing) -> Result<Vec<String>, Unreadable> {
    let mut ids = Vec::new();
    for entry in list(disk, paths::UPLOADS)?.into_iter().filter(|entry| entry.is_dir) {
        let folder = paths::upload_dir(&entry.name);
        let files = match disk.list(&folder) {
            Err(error) if !standing.finds(&error) => return Err(unreadable(&folder)(error)),
            files => files.unwrap_or_default(),
        };
        let is_note = !files.is_empty() && files.iter().all(|file| paths::parse_intent(&file.name).is_some());
        if !is_note {
            ids.push(entry.name);
        }
    }
    Ok(ids)
}

/// U3 and S1, which hold while the store is served, too.
pub fn strange_files(disk: &dyn Disk, standing: Standing, report: &mut Report) -> Result<(), Unreadable> {
    for entry in list(disk, paths::UPLOADS)?.into_iter().filter(|entry| !entry.is_dir) {
        report.add_metadata("U3", format!("{}/{} is no folder of an upload", paths::UPLOADS, entry.name));
    }
    for entry in list(disk, paths::SMALL)? {
        let Some(number) = paths::parse_numbered(&entry.name, ".log") else { continue };
        let path = paths::small_segment(number);
        match head_of(disk, &path) {
            Ok(None) => {}
            Ok(Some(head)) => {
                // One of another number was about to be used again, and has no records.
                if let Err(why) = small::Header::decode(&head) {
                    report.add_metadata("S1", format!("{}: {why}", path.display()));
                }
            }
            Err(error) if standing.finds(&error) => {
                report.add_unread("S1", format!("{}: it cannot be read: {error}", path.display()));
            }
            Err(error) => return Err(unreadable(&path)(error)),
        }
    }
    Ok(())
}

/// The header of a segment of which everything can be read; `None` if it has gone since it was listed.
fn head_of(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(mut file) = open(disk, path)? else { return Ok(None) };
    let mut head = Vec::new();
    file.by_ref().take(small::HEADER as u64).read_to_end(&mut head)?;
    io::copy(&mut file.take(small::MAX_SEGMENT as u64), &mut io::sink())?;
    Ok(Some(head))
}

/// What is wrong with an upload.
struct Sick {
    invariant: &'static str,
    why: String,
    /// The disk did not give it, for this: it may hold, and a start leaves it alone.
    unread: Option<io::Error>,
}

fn unusable(why: impl Into<String>) -> Sick {
    Sick { invariant: "U1", why: why.into(), unread: None }
}

fn short(why: String) -> Sick {
    Sick { invariant: "U2", why, unread: None }
}

fn unread(invariant: &'static str, what: &'static str) -> impl Fn(io::Error) -> Sick {
    move |error| Sick { invariant, why: format!("its {what} cannot be read"), unread: Some(error) }
}

fn look(disk: &dyn Disk, id: &str, deep: bool) -> Result<(), Sick> {
    let (no_journal, no_data) = (unread("U1", "journal"), unread("U2", "data"));
    disk.list(&paths::upload_dir(id)).map_err(unread("U1", "folder"))?; // what intents are there decides B2
    let Some(file) = open(disk, &paths::upload_journal(id)).map_err(&no_journal)? else {
        return Err(unusable("it has no journal, so nobody can go on with it"));
    };
    let mut journal = Vec::new();
    file.take(MAX_JOURNAL).read_to_end(&mut journal).map_err(&no_journal)?;
    let (header, checkpoints) =
        upload::read(&journal).map_err(|error| unusable(format!("its journal does not hold: {error}")))?;
    if format!("{:032x}", header.id) != id {
        return Err(unusable("its journal is that of another upload"));
    }
    let Some((last, _)) = checkpoints.last() else {
        return Err(unusable(format!("its journal, of {}, has no checkpoint", header.repository)));
    };
    let Some(data) = open(disk, &paths::upload_data(id)).map_err(&no_data)? else {
        return Err(unusable("its data are missing"));
    };
    data.read_at(&mut [0], 0).map_err(&no_data)?; // what is no file has a length, too
    let len = data.metadata().map_err(&no_data)?.len();
    if len < last.offset {
        let (repository, offset) = (header.repository, last.offset);
        return Err(short(format!("{len} bytes of an upload to {repository} are there, of {offset}")));
    }
    if !deep {
        return Ok(());
    }
    let checkpoints: Vec<Checkpoint> = checkpoints.into_iter().map(|(checkpoint, _)| checkpoint).collect();
    match failing(&data, &checkpoints).map_err(&no_data)? {
        Some(held) => Err(short(format!("its bytes hold up to {held}, of {}", last_offset(&checkpoints)))),
        None => Ok(()),
    }
}

fn last_offset(checkpoints: &[Checkpoint]) -> u64 {
    checkpoints.last().map_or(0, |last| last.offset)
}

/// `None` if the bytes are those of all checkpoints; the offset of the last one that holds otherwise.
fn failing(data: &File, checkpoints: &[Checkpoint]) -> io::Result<Option<u64>> {
    let mut previous = 0;
    for checkpoint in checkpoints {
        let (mut at, mut holds) = (previous - previous % CHUNK, true);
        for hash in &checkpoint.chunks {
            holds &= is_hash_of(data, at, CHUNK, hash)?;
            at += CHUNK;
        }
        if let Some(hash) = &checkpoint.tail {
            holds &= is_hash_of(data, at, checkpoint.offset - at, hash)?;
        }
        if !holds {
            return Ok(Some(previous));
        }
        previous = checkpoint.offset;
    }
    Ok(None)
}

/// What is not all there is not; what cannot be read may be.
fn is_hash_of(data: &File, at: u64, len: u64, hash: &[u8; 32]) -> io::Result<bool> {
    let mut bytes = vec![0; usize::try_from(len.min(CHUNK)).unwrap_or_default()];
    match data.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(blake3::hash(&bytes).as_bytes() == hash),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn list(disk: &dyn Disk, folder: &str) -> Result<Vec<crate::stores::disk::Entry>, Unreadable> {
    disk.list(Path::new(folder)).map_err(unreadable(Path::new(folder)))
}

/// `None` if it is not there, or has gone since it was listed.
fn open(disk: &dyn Disk, path: &Path) -> io::Result<Option<File>> {
    match disk.open_read(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Unreadable {
    let what = path.display().to_string();
    move |error| Unreadable { what, source: error.into() }
}

#[cfg(test)]
mod tests {
    use pierhead_storage_format::Algorithm;
    use pierhead_storage_format::upload::{Header, State};

    use super::super::{DiskBlobs, Severity};
    use super::*;
    use crate::stores::disk::RealDisk;
    use crate::stores::disk::faulty::FaultyDisk;

    const ID: &str = "000000000000000000000000000000aa";

    /// Name, what is found, and how a sound upload of two chunks and a tail gets it.
    type Case = (&'static str, &'static [&'static str], fn(&Path));

    fn upload(root: &Path) {
        let header = Header {
            id: 0xaa,
            algorithm: Algorithm::Sha256,
            created_at: 1,
            repository: "acme/web".to_owned(),
            actor: b"\x01anonymous".to_vec(),
        };
        let data = vec![7; 2 * CHUNK as usize + 9];
        let hash = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
        let chunks = data[..2 * CHUNK as usize].chunks(CHUNK as usize).map(hash).collect();
        let state = State { version: 11, bytes: vec![1] };
        let (offset, tail) = (data.len() as u64, Some(hash(&data[2 * CHUNK as usize..])));
        let mut journal = header.encode().expect("short");
        let checkpoint = Checkpoint { offset, state, chunks, tail };
        let key = header.key().expect("a key");
        journal.extend(checkpoint.encode(&key, journal.len() as u64).expect("short"));
        let folder = root.join(paths::upload_dir(ID));
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(folder.join("data"), data).expect("written");
        std::fs::write(folder.join("journal"), journal).expect("written");
    }

    fn change(root: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = root.join(paths::upload_dir(ID)).join(name);
        let mut bytes = std::fs::read(&path).expect("there");
        change(&mut bytes);
        std::fs::write(path, bytes).expect("written");
    }

    /// What opens, and gives an error where it is read.
    fn put_a_folder_at(path: &Path) {
        let _ = std::fs::remove_file(path);
        std::fs::create_dir_all(path).expect("made");
    }

    #[test]
    fn what_cannot_be_read_of_uploads_and_segments_is_not_said_to_go_by_itself() {
        let cases = [
            ("a journal", paths::upload_journal(ID), "U1"),
            ("data", paths::upload_data(ID), "U2"),
            ("a segment", paths::small_segment(3), "S1"),
        ];
        for (name, path, id) in cases {
            for deep in [false, true] {
                let folder = tempfile::tempdir().expect("a folder");
                upload(folder.path());
                put_a_folder_at(&folder.path().join(&path));
                let mut report = Report::default();
                check_uploads(&RealDisk::new(folder.path()), deep, &mut report).expect("readable");
                assert_eq!(report.findings.len(), 1, "{name}: {:?}", report.findings);
                let finding = &report.findings[0];
                assert_eq!((finding.id, finding.severity), (id, Severity::Warning), "{name}");
                assert!(finding.advice.starts_with("check the disk"), "{name}: {finding:?}");
                let is_moved = finding.advice.contains("move");
                assert_eq!(is_moved, id != "S1", "a segment has what was answered for: {finding:?}");
            }
        }
    }

    #[test]
    fn bytes_that_cannot_be_read_are_told_from_bytes_that_are_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("data");
        std::fs::write(&file, b"short").expect("written");
        let is_hash = |path: &Path| is_hash_of(&File::open(path).expect("opens"), 0, CHUNK, &[0; 32]);
        assert!(matches!(is_hash(&file), Ok(false)));
        assert!(is_hash(folder.path()).is_err());
    }

    #[test]
    fn a_want_of_descriptors_or_memory_ends_the_check_and_is_no_finding() {
        use Standing::{AtRest, Served};
        // Where it is a finding.
        let errors: [(&str, i32, &[Standing]); 8] = [
            ("too many open files", 24, &[]),
            ("too many open files of the host", 23, &[]),
            ("no memory", 12, &[]),
            ("no right to read", 13, &[AtRest]),
            ("an unreadable sector", 5, &[AtRest, Served]),
            ("a medium's error", 61, &[AtRest, Served]),
            ("a checksum of the file system", 74, &[AtRest, Served]),
            ("a file system that needs cleaning", 117, &[AtRest, Served]),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        upload(folder.path());
        std::fs::create_dir_all(folder.path().join(paths::SMALL)).expect("made");
        let header = small::Header { number: 3, id: [1; 16] };
        std::fs::write(folder.path().join(paths::small_segment(3)), header.encode()).expect("written");
        let (disk, faults) = FaultyDisk::new(folder.path());
        let disk = std::sync::Arc::new(disk);
        let found = |read: &dyn Fn(&mut Report) -> Result<(), Unreadable>| {
            let mut report = Report::default();
            read(&mut report)
                .is_ok()
                .then(|| report.findings.iter().map(|found| found.id).collect::<Vec<_>>())
        };
        for (name, errno, findings) in errors {
            let told = |standing, ids: &[&'static str]| findings.contains(&standing).then(|| ids.to_vec());
            faults.shut(&paths::small_segment(3), errno);
            for standing in [AtRest, Served] {
                let strange = found(&|report| strange_files(disk.as_ref(), standing, report));
                assert_eq!(strange, told(standing, &["S1"]), "{name}, {standing:?}");
            }
            let opened = found(&|_| DiskBlobs::open(disk.clone()).map(drop));
            let under_way = found(&|_| DiskBlobs::under_way(disk.clone()).map(drop));
            assert_eq!((opened, under_way), (told(AtRest, &[]), told(Served, &[])), "{name}: a segment");
            for (id, path) in [("U1", paths::upload_journal(ID)), ("U2", paths::upload_data(ID))] {
                faults.shut(&path, errno);
                let checked = found(&|report| check_uploads(disk.as_ref(), true, report));
                assert_eq!(checked, told(AtRest, &[id]), "{name}: {}", path.display());
            }
            faults.shut(&paths::upload_dir(ID), errno);
            let listed = found(&|report| check_uploads(disk.as_ref(), true, report));
            assert_eq!(listed, told(AtRest, &["U1"]), "{name}: a folder");
            for standing in [AtRest, Served] {
                let ids = found(&|_| upload_ids(disk.as_ref(), standing).map(drop));
                assert_eq!(ids, told(standing, &[]), "{name}: a folder, {standing:?}");
            }
            let opened = found(&|_| DiskBlobs::open(disk.clone()).map(drop));
            let under_way = found(&|_| DiskBlobs::under_way(disk.clone()).map(drop));
            assert_eq!((opened, under_way), (told(AtRest, &[]), told(Served, &[])), "{name}: a folder");
        }
    }

    #[test]
    fn an_upload_that_cannot_go_on_and_a_segment_that_is_none_are_named() {
        let cases: [Case; 13] = [
            ("sound", &[], |_| {}),
            ("a note for start-up", &[], |root| {
                let digest = pierhead_storage_format::Digest::new(Algorithm::Sha256, &[1; 32]).expect("fits");
                let intent = root.join(paths::upload_intent("00", &digest));
                std::fs::create_dir_all(intent.parent().expect("a folder")).expect("made");
                std::fs::write(intent, b"").expect("written");
            }),
            ("no journal", &["U1"], |root| {
                std::fs::remove_file(root.join(paths::upload_journal(ID))).expect("there");
            }),
            ("a damaged header", &["U1"], |root| change(root, "journal", |bytes| bytes[30] ^= 1)),
            ("no checkpoint that holds", &["U1"], |root| {
                change(root, "journal", |bytes| {
                    bytes.pop();
                })
            }),
            ("no data", &["U1"], |root| {
                std::fs::remove_file(root.join(paths::upload_data(ID))).expect("there");
            }),
            ("data that were cut", &["U2"], |root| {
                change(root, "data", |bytes| {
                    bytes.pop();
                })
            }),
            ("a flipped byte in the tail", &["U2"], |root| {
                change(root, "data", |bytes| *bytes.last_mut().expect("some") ^= 1);
            }),
            ("a journal that cannot be read", &["U1"], |root| {
                put_a_folder_at(&root.join(paths::upload_journal(ID)));
            }),
            ("data that cannot be read", &["U2"], |root| {
                put_a_folder_at(&root.join(paths::upload_data(ID)));
            }),
            ("a segment that cannot be read", &["S1"], |root| {
                put_a_folder_at(&root.join(paths::small_segment(3)));
            }),
            ("a file", &["U3"], |root| {
                std::fs::write(root.join(paths::UPLOADS).join("readme"), b"").expect("written")
            }),
            ("a segment that is none", &["S1"], |root| {
                std::fs::create_dir_all(root.join(paths::SMALL)).expect("made");
                std::fs::write(root.join(paths::small_segment(3)), b"no segment").expect("written");
            }),
        ];
        for (name, expected, make_sick) in cases {
            let folder = tempfile::tempdir().expect("a folder");
            upload(folder.path());
            make_sick(folder.path());
            let mut report = Report::default();
            check_uploads(&RealDisk::new(folder.path()), true, &mut report).expect("readable");
            let found: Vec<&str> = report.findings.iter().map(|finding| finding.id).collect();
            assert_eq!(found, expected, "{name}: {:?}", report.findings);
        }
    }
}
