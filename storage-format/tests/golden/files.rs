//! A journal segment, a snapshot, the journal of an upload and an outboard, each whole: `golden/journal/v1.bin`,
//! `golden/snapshot/v1.bin` (before compression), `golden/upload/v1.bin`, `golden/outboard/v1.bin`, with
//! what they say beside them in `.txt`.

use std::fmt::Write;

use pierhead_storage_format::journal::{
    Change, FRAME_CHECK, FRAME_HEADER, FrameHeader, Position, SEGMENT_HEADER, SegmentHeader, Tag,
    each_change, encode_change_set, encode_frame,
};
use pierhead_storage_format::keys::Table;
use pierhead_storage_format::outboard::{self, Outboard};
use pierhead_storage_format::small;
use pierhead_storage_format::snapshot::{SnapshotError, SnapshotReader, SnapshotWriter};
use pierhead_storage_format::upload::{self, Checkpoint, Header, State};
use pierhead_storage_format::{Algorithm, Digest, FormatError};

use crate::samples::{Sample, whole_files};
use crate::{BUMP, damaged, golden, read_or_make};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(table: Table, key: &[u8], value: Option<&[u8]>) -> String {
    let value = value.map_or("removed".to_owned(), |value| format!("record {}", hex(value)));
    format!("{} key {} {value}", table.name(), hex(key))
}

fn position() -> Position {
    Position { sequence: 41, tag: Tag(*b"history up to 41") }
}

/// Two frames: two change sets, one of which removes a row; then one more.
fn segment() -> Vec<u8> {
    let header = SegmentHeader { start: position(), previous: 30, previous_end: 4096 };
    let rows = whole_files();
    let set = |row: &Sample| (row.table, row.key.clone(), Some(row.value.clone()));
    let first: Vec<_> = rows[..2].iter().map(set).collect();
    let second = vec![(rows[0].table, rows[0].key.clone(), None)];
    let third: Vec<_> = rows[2..4].iter().map(set).collect();
    let mut bytes = header.encode().to_vec();
    let mut sequence = header.first();
    for sets in [vec![first, second], vec![third]] {
        let mut body = Vec::new();
        for set in &sets {
            let changes: Vec<_> =
                set.iter().map(|(t, k, v)| Change { table: *t, key: k, value: v.as_deref() }).collect();
            encode_change_set(&changes, &mut body).expect("samples are small");
        }
        let (offset, count) = (bytes.len() as u64, u32::try_from(sets.len()).expect("few"));
        bytes.extend(encode_frame(&header.key(), offset, offset, sequence, count, &body).expect("small"));
        sequence += u64::from(count);
    }
    bytes
}

/// What a segment says, every check made.
fn read_segment(bytes: &[u8]) -> Result<String, FormatError> {
    let header = SegmentHeader::decode(bytes)?;
    let mut text = format!("segment {:020}, continues {}\n", header.first(), show(header.start));
    let _ = writeln!(text, "before it {:020}, which ends at {}", header.previous, header.previous_end);
    let (key, mut at, mut position) = (header.key(), SEGMENT_HEADER, header.start);
    while at < bytes.len() {
        let frame = FrameHeader::decode(&key, at as u64, &bytes[at..])?;
        let body = frame.check(&key, at as u64, &bytes[at + FRAME_HEADER..])?;
        let FrameHeader { body_len, first, count, durable } = frame;
        let _ = writeln!(text, "frame at {at}: {count} from {first}, durable to {durable}, body {body_len}");
        each_change(body, count, &mut |set, change| {
            let change = shown(change.table, change.key, change.value);
            let _ = writeln!(text, "  {}: {change}", first + u64::from(set));
        })?;
        position = position.after(count, body).ok_or(FormatError::Record)?;
        at += FRAME_HEADER + body.len() + FRAME_CHECK;
    }
    let _ = writeln!(text, "ends at {at}, {}", show(position));
    Ok(text)
}

fn show(position: Position) -> String {
    format!("sequence {} tag {}", position.sequence, hex(&position.tag.0))
}

fn snapshot() -> Vec<u8> {
    let mut rows = whole_files();
    rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
    let mut bytes = Vec::new();
    let mut writer = SnapshotWriter::new(position(), &mut bytes);
    for row in rows {
        writer.row(row.table, &row.key, &row.value, &mut bytes).expect("samples are small");
    }
    writer.finish(&mut bytes);
    bytes
}

fn read_snapshot(bytes: &[u8]) -> Result<String, SnapshotError> {
    let mut reader = SnapshotReader::new(bytes)?;
    let mut text = format!("snapshot at {}\n", show(reader.position()));
    while let Some(row) = reader.next_row()? {
        let _ = writeln!(text, "{}", shown(row.table, &row.key, Some(&row.value)));
    }
    let _ = writeln!(text, "{} rows", reader.sums().total());
    Ok(text)
}

/// Two checkpoints: of two chunks, and of one.
fn upload_journal() -> Vec<u8> {
    upload_journal_of(&[(2 * upload::CHUNK, 2, None), (3 * upload::CHUNK, 1, None)])
}

/// One that ends within a chunk, and one that goes on from there.
fn upload_journal_with_tail() -> Vec<u8> {
    upload_journal_of(&[(upload::CHUNK + 7, 1, Some([9; 32])), (3 * upload::CHUNK, 2, None)])
}

fn upload_journal_of(checkpoints: &[(u64, usize, Option<[u8; 32]>)]) -> Vec<u8> {
    let header = Header {
        id: 0x7f3c_0000_0000_0000_0000_0000_0000_0001,
        algorithm: Algorithm::Sha256,
        created_at: 1_795_000_000_000,
        repository: "acme/web".to_owned(),
        actor: b"\x01anonymous".to_vec(),
    };
    let mut bytes = header.encode().expect("samples are small");
    let mut number = 0;
    for (offset, count, tail) in checkpoints {
        let chunks = (0..*count).map(|_| {
            number += 1;
            [number; 32]
        });
        let (offset, chunks, tail) = (*offset, chunks.collect(), *tail);
        let checkpoint =
            Checkpoint { offset, state: State { version: 11, bytes: vec![5; 104] }, chunks, tail };
        let key = header.key().expect("samples are small");
        bytes.extend(checkpoint.encode(&key, bytes.len() as u64).expect("samples are small"));
    }
    bytes
}

/// What it says; an error unless all of it holds.
fn read_upload_journal(bytes: &[u8]) -> Result<String, FormatError> {
    let (header, checkpoints) = upload::read(bytes)?;
    let mut text = format!("{header:?}\n");
    for (Checkpoint { offset, state, chunks, tail }, end) in &checkpoints {
        let chunks: Vec<String> = chunks.iter().map(|chunk| hex(chunk)).collect();
        let state = format!("state {} {}", state.version, hex(&state.bytes));
        let tail = tail.map(|tail| format!(", tail {}", hex(&tail))).unwrap_or_default();
        let _ = writeln!(text, "up to {offset}, {state}, chunks {chunks:?}{tail}, ends at {end}");
    }
    let end = checkpoints.last().map_or(0, |(_, end)| *end);
    if end == bytes.len() as u64 { Ok(text) } else { Err(FormatError::Record) }
}

/// Three records; the digests are not those of the bytes, which is nothing this crate looks at.
fn small_blobs() -> Vec<u8> {
    let header = small::Header { number: 7, id: [9; 16] };
    let mut bytes = header.encode().to_vec();
    for (algorithm, blob) in
        [(Algorithm::Sha256, &b"first"[..]), (Algorithm::Sha512, b"second"), (Algorithm::Sha256, b"")]
    {
        let digest = Digest::new(algorithm, &vec![7; algorithm.raw_len()]).expect("length matches");
        header.key().encode(&mut bytes, 0, &digest, blob).expect("samples are small");
    }
    bytes
}

/// What it says; an error unless all of it holds.
fn read_small_blobs(bytes: &[u8]) -> Result<String, FormatError> {
    let (header, records) = small::read(bytes)?;
    let mut text = format!("segment {}, id {}\n", header.number, hex(&header.id));
    let mut end = small::HEADER;
    for small::Record { digest, bytes: range } in &records {
        let _ = writeln!(text, "{digest} at {}: {}", range.start, hex(&bytes[range.clone()]));
        end = range.end;
    }
    if end == bytes.len() { Ok(text) } else { Err(FormatError::Record) }
}

#[test]
fn the_golden_segment_of_small_blobs_is_read_and_written_again_and_damage_to_it_is_seen() {
    let path = golden("small/v1.bin");
    let bytes = read_or_make(&path, small_blobs);
    let text = read_small_blobs(&bytes).expect(BUMP);
    let beside = read_or_make(&path.with_extension("txt"), || text.clone().into_bytes());
    assert_eq!((&bytes, text.as_bytes()), (&small_blobs(), beside.as_slice()), "{BUMP}");
    for copy in damaged(&bytes) {
        // What the digests prove is not proved here; a cut between records is what a stop leaves.
        assert_ne!(read_small_blobs(&copy).ok().as_ref(), Some(&text));
    }
}

/// Of three chunks, the last a short one.
fn outboard() -> Vec<u8> {
    let digest = Digest::new(Algorithm::Sha256, &[0xab; 32]).expect("length matches");
    let chunks = vec![[1; 32], [2; 32], [3; 32]];
    Outboard::new(digest, 2 * outboard::CHUNK + 5, chunks).expect("one hash a chunk").encode()
}

fn read_outboard(bytes: &[u8]) -> Result<String, FormatError> {
    let Outboard { digest, len, chunks } = Outboard::decode(bytes)?;
    let chunks: Vec<String> = chunks.iter().map(|chunk| hex(chunk)).collect();
    Ok(format!("of {digest}, {len} bytes, chunks {chunks:?}\n"))
}

#[test]
fn the_golden_outboard_is_read_and_written_again_and_every_damage_is_seen() {
    let path = golden("outboard/v1.bin");
    let bytes = read_or_make(&path, outboard);
    let text = read_outboard(&bytes).expect(BUMP);
    let beside = read_or_make(&path.with_extension("txt"), || text.clone().into_bytes());
    assert_eq!((&bytes, text.as_bytes()), (&outboard(), beside.as_slice()), "{BUMP}");
    for copy in damaged(&bytes) {
        assert!(read_outboard(&copy).is_err());
    }
}

#[test]
fn the_golden_upload_journal_is_read_and_written_again_and_every_damage_is_seen() {
    for (name, journal) in [
        ("upload/v1.bin", upload_journal as fn() -> Vec<u8>),
        ("upload/v1-tail.bin", upload_journal_with_tail),
    ] {
        let path = golden(name);
        let bytes = read_or_make(&path, journal);
        let text = read_upload_journal(&bytes).expect(BUMP);
        let beside = read_or_make(&path.with_extension("txt"), || text.clone().into_bytes());
        assert_eq!((&bytes, text.as_bytes()), (&journal(), beside.as_slice()), "{BUMP}");
        for copy in damaged(&bytes) {
            // A cut between two checkpoints leaves a shorter journal, as a stop there would.
            let shorter = copy.len() < bytes.len() && read_upload_journal(&copy).is_ok();
            assert!(shorter || read_upload_journal(&copy).is_err());
        }
    }
}

#[test]
fn the_golden_segment_is_read_and_written_again_byte_for_byte() {
    let path = golden("journal/v1.bin");
    let bytes = read_or_make(&path, segment);
    let text = read_segment(&bytes).expect(BUMP);
    let beside = read_or_make(&path.with_extension("txt"), || text.clone().into_bytes());
    assert_eq!((bytes, text.as_bytes()), (segment(), beside.as_slice()), "{BUMP}");
}

#[test]
fn the_golden_snapshot_is_read_and_written_again_byte_for_byte() {
    let path = golden("snapshot/v1.bin");
    let bytes = read_or_make(&path, snapshot);
    let text = read_snapshot(&bytes).expect(BUMP);
    let beside = read_or_make(&path.with_extension("txt"), || text.clone().into_bytes());
    assert_eq!((bytes, text.as_bytes()), (snapshot(), beside.as_slice()), "{BUMP}");
}

#[test]
fn a_truncated_or_bit_flipped_segment_or_snapshot_is_an_error() {
    let bytes = read_or_make(&golden("journal/v1.bin"), segment);
    for copy in damaged(&bytes).step_by(3) {
        // A cut between two frames leaves a shorter journal: only the next segment's header tells.
        let shorter = copy.len() < bytes.len() && read_segment(&copy).is_ok();
        assert!(shorter || read_segment(&copy).is_err());
    }
    for copy in damaged(&read_or_make(&golden("snapshot/v1.bin"), snapshot)).step_by(3) {
        assert!(read_snapshot(&copy).is_err());
    }
}
