//! The generated part of `docs/swr-api.md`: every operation. `PIERHEAD_WRITE_GOLDEN=1 cargo test page_of_swr` writes it.

use super::route::ROUTES;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/swr-api.md");
const BEGIN: &str = "<!-- operations: begin, written by a test -->\n";
const END: &str = "<!-- operations: end -->";

fn table() -> String {
    let mut text = "| operation | request | action | answers |\n| --- | --- | --- | --- |\n".to_owned();
    for row in ROUTES {
        let statuses: Vec<String> = row.statuses.iter().map(u16::to_string).collect();
        let (operation, method, path) = (row.operation, &row.method, row.path);
        let (action, statuses) = (row.action.name(), statuses.join(", "));
        text.push_str(&format!("| {operation} | `{method} {path}` | `{action}` | {statuses} |\n"));
    }
    text
}

#[test]
fn the_page_of_swrs_api_lists_every_operation_as_the_table_has_it() {
    let page = std::fs::read_to_string(PAGE).expect("docs/swr-api.md");
    let (before, rest) = page.split_once(BEGIN).expect("a begin mark");
    let (found, after) = rest.split_once(END).expect("an end mark");
    if std::env::var_os("PIERHEAD_WRITE_GOLDEN").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{}{END}{after}", table())).expect("written");
        return;
    }
    assert!(found == table(), "run with PIERHEAD_WRITE_GOLDEN=1, review the difference, run again");
}
