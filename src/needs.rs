//! What the settings may take of the host: one formula each, for the start, which makes them fit, for the doctor,
//! who says whether they do, and in `docs/sizing.md` for people. Bounds, not forecasts.

use crate::config::Settings;
use crate::server::most_ahead;

/// Descriptors beside those of connections and upload sessions: the index, the journal, blobs being read and written.
const OTHER_FILES: u64 = 512;
/// Bytes of memory beside what is counted here.
const OTHER_MEMORY: u64 = 128 << 20;
/// Bytes of memory that a row of the index takes beside the cache.
pub const ROW: u64 = 90;

/// Open files beside those of upload sessions: a connection may have a blob open.
pub fn files_beside_sessions(settings: &Settings) -> u64 {
    u64::from(settings.server.max_connections) * 2 + OTHER_FILES
}

/// Open files, all told: an upload session keeps one open as long as it lasts.
pub fn files(settings: &Settings) -> u64 {
    files_beside_sessions(settings) + u64::from(settings.registry.max_sessions)
}

/// Connections that few enough files leave room for: idle ones take one each.
pub const fn connections_within(files: u64) -> u64 {
    files.saturating_sub(OTHER_FILES)
}

/// Bytes of memory, with an index of so many rows, beside those of requests under way over HTTP/1.1.
pub fn memory(settings: &Settings, rows: u64) -> u64 {
    // The index's cache may grow to two and a half times what is set.
    let cache = settings.storage.index_cache.bytes().saturating_mul(5) / 2;
    // What a client sends ahead is kept once as it was read, and once more in frames that are not whole yet.
    let ahead = if settings.server.http2 { most_ahead(settings.server.max_connections) * 2 } else { 0 };
    [rows.saturating_mul(ROW), settings.registry.manifest_memory.bytes(), ahead, OTHER_MEMORY]
        .into_iter()
        .fold(cache, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_page_for_operators() {
        let page = include_str!("../docs/sizing.md");
        let mut settings = Settings::default();
        let plain = memory(&settings, 0);
        assert!(page.contains("`2 × server.max_connections + registry.max_sessions + 512`"));
        assert_eq!(files(&settings), 34_512);
        assert!(page.contains("34,512"));
        assert!(page.contains(&format!("some {ROW} bytes a row")));
        settings.registry.max_sessions = 50_000;
        assert_eq!(files(&settings), 74_512);
        settings.server.http2 = true;
        let ahead = memory(&settings, 0) - plain;
        // 2.46 GiB, and as much again.
        assert_eq!(ahead, 2 * ((1 << 30) + 12_000 * (128 << 10)));
        assert!(page.contains("2.5 GiB for 12,000, and as much again"));
        assert_eq!(memory(&settings, 1000) - memory(&settings, 0), 90_000);
    }
}
