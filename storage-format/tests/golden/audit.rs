//! A log and a sealed segment of the audit trail, frames not compressed: `golden/audit/log-v1.bin`,
//! `golden/audit/segment-v1.bin`, with what they say beside them in `.txt`.

use pierhead_storage_format::FormatError;
use pierhead_storage_format::audit::{
    EventRecord, Index, Item, LogHeader, SegmentWriter, TRAILER, Trailer, decode_segment_header, items,
    push_item, read_log,
};
use pierhead_storage_format::codec::Record;
use pierhead_storage_format::identity::Id;

use crate::samples::audit::{anonymous, change, id};
use crate::{BUMP, damaged, golden, read_or_make};

fn events() -> Vec<(Id, Vec<u8>)> {
    let encoded = |event: EventRecord| event.encode().expect("small");
    vec![(id(1), encoded(change())), (id(2), encoded(anonymous()))]
}

fn log() -> Vec<u8> {
    let header = LogHeader { number: 7, id: *b"a random number!" };
    let mut bytes = header.encode();
    for (id, record) in events() {
        let mut raw = Vec::new();
        push_item(&mut raw, Item { id, record: &record }).expect("small");
        bytes.extend(header.key().encode(bytes.len() as u64, &raw).expect("small"));
    }
    bytes
}

fn show(item: Item<'_>) -> Result<String, FormatError> {
    let event = serde_json::to_string_pretty(&EventRecord::decode(item.record)?).expect("JSON");
    Ok(format!("{} {event}\n", item.id))
}

fn show_log(bytes: &[u8]) -> Result<String, FormatError> {
    let (header, found, lost) = read_log(bytes)?;
    let events: Result<String, _> = found.into_iter().map(show).collect();
    Ok(format!("log {}, {lost} bytes of no batch\n{}", header.number, events?))
}

fn segment() -> Vec<u8> {
    let mut writer = SegmentWriter::new(6, |raw: &[u8]| Ok::<_, FormatError>(raw.to_vec()));
    for (id, record) in events() {
        writer.push(Item { id, record: &record }).expect("in order");
    }
    writer.finish().expect("small")
}

fn show_segment(bytes: &[u8]) -> Result<String, FormatError> {
    let at = bytes.len().checked_sub(TRAILER).ok_or(FormatError::Record)?;
    let trailer = Trailer::decode(&bytes[at..], bytes.len() as u64)?;
    let part = |from: u64, to: u64| &bytes[from as usize..to as usize];
    let index = Index::decode(&trailer, part(trailer.index_at, at as u64))?;
    if decode_segment_header(bytes)? != trailer.number
        || !trailer.holds_filters(part(trailer.filters_at, trailer.index_at))
    {
        return Err(FormatError::Damaged("header or filters"));
    }
    let mut text = format!("segment {}, {} events\n", trailer.number, trailer.events);
    for entry in &index.entries {
        let frame = part(entry.offset, entry.offset + u64::from(entry.len));
        if !entry.holds(frame) {
            return Err(FormatError::Damaged("frame"));
        }
        text.push_str(&format!(
            "frame {} to {}, times {} to {}\n",
            entry.first, entry.last, entry.from, entry.to
        ));
        for item in items(frame) {
            text.push_str(&show(item?)?);
        }
    }
    Ok(text)
}

type Case = (&'static str, fn() -> Vec<u8>, fn(&[u8]) -> Result<String, FormatError>);

#[test]
fn the_golden_files_of_the_trail_are_read_and_written_again_and_damage_to_them_is_seen() {
    let cases: [Case; 2] = [("log", log, show_log), ("segment", segment, show_segment)];
    for (name, make, read) in cases {
        let path = golden(format!("audit/{name}-v1.bin"));
        let bytes = read_or_make(&path, make);
        let text = read(&bytes).expect(BUMP);
        let beside = read_or_make(&path.with_extension("txt"), || text.clone().into_bytes());
        assert_eq!((&bytes, text.as_bytes()), (&make(), beside.as_slice()), "{name}: {BUMP}");
        for copy in damaged(&bytes) {
            assert_ne!(read(&copy).ok().as_ref(), Some(&text), "{name}");
        }
    }
}
