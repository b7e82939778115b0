//! Puts what was rendered into a page: between two marks, so that what people write around them stays.

use crate::error::BenchError;

const BEGIN: &str = "<!-- measured: written by pierhead-bench, do not edit -->";
const END: &str = "<!-- end of measured -->";
const NEW: &str = "# Performance\n\n";

/// The page with these lines between its marks; a new page if there is none yet. `path` names it in the error.
/// A page with one mark, or with none, is refused: it is not this program's to overwrite.
pub fn put_into(path: &str, page: Option<&str>, lines: &str) -> Result<String, BenchError> {
    let marked = format!("{BEGIN}\n{lines}{END}");
    let Some(page) = page else { return Ok(format!("{NEW}{marked}\n")) };
    let found = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match found {
        Some((before, after)) => Ok(format!("{before}{marked}{after}")),
        None => Err(BenchError::Marks { path: path.to_owned(), begin: BEGIN, end: END }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_around_the_marks_stays() {
        let page = put_into("p", None, "one\n").expect("a new page");
        assert_eq!(page, format!("# Performance\n\n{BEGIN}\none\n{END}\n"));
        let edited = format!("Before.\n{page}After.\n");
        let again = put_into("p", Some(&edited), "two\n").expect("both marks are there");
        assert_eq!(again, format!("Before.\n# Performance\n\n{BEGIN}\ntwo\n{END}\nAfter.\n"));
    }

    #[test]
    fn a_page_without_both_marks_in_order_is_refused() {
        let swapped = format!("{END}\n{BEGIN}\n");
        for page in ["", "# Mine\n", BEGIN, END, swapped.as_str()] {
            let put = put_into("docs/p.md", Some(page), "one\n");
            assert!(matches!(put, Err(BenchError::Marks { path, .. }) if path == "docs/p.md"), "{page:?}");
        }
    }
}
