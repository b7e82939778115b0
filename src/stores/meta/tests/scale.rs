//! A large store: 50,000 keys by default, 1,000,000 with `PIERHEAD_FULL=1` (in release mode: the
//! rebuild must take less than 30 s).

use pierhead_storage_format::codec::Record;
use pierhead_storage_format::keys::{Table, TagKey};
use pierhead_storage_format::records::TagRecord;
use pierhead_storage_format::{Algorithm, Digest};

use super::super::{IndexOutcome, write_store};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_many_keys_is_rebuilt_in_time() {
    let count: u64 = if full_size() { 1_000_000 } else { 50_000 };
    let house = House { snapshot_after: 64 << 20, ..House::sled() };
    let disk: Arc<dyn Disk> = Arc::new(house.disk());
    let rows = (0..count).map(|i| {
        let key = TagKey { repository: i / 1000, tag: format!("v{:09}-release-candidate", i % 1000) };
        let digest =
            Digest::new(Algorithm::Sha256, blake3::hash(&i.to_le_bytes()).as_bytes()).expect("32 bytes");
        let record = TagRecord { digest, pushed_at: i };
        Ok((Table::Tag, key.encode(), record.encode().expect("small")))
    });
    assert_eq!(write_store(&disk, 1, rows).expect("written"), count);
    let started = Instant::now();
    let (meta, opened) = house.open();
    let IndexOutcome::Rebuilt { rows, took_ms, .. } = opened.index else { panic!("{:?}", opened.index) };
    assert_eq!(rows, count);
    assert!(took_ms < 30_000, "{took_ms} ms");
    let open_ms = started.elapsed().as_millis();
    put_one(&meta, "more", 1).await.expect("committed");
    meta.close();
    let started = Instant::now();
    let (meta, opened) = house.open();
    assert_eq!(opened.index, IndexOutcome::AsFound);
    let again_ms = started.elapsed().as_millis();
    assert_eq!(meta.page::<TagKey>(&TagKey::prefix(7), None, 2000).expect("page").len(), 1000);
    #[expect(clippy::print_stderr, reason = "the figure this test is for")]
    {
        eprintln!(
            "{count} keys: rebuild {took_ms} ms, open with rebuild {open_ms} ms, open with check {again_ms} ms"
        );
    }
}
