//! An error as one line: what happened, then why, down to the first cause. For logs and operators,
//! never for clients. Every room may use it; it names none.

use std::error::Error;

/// An error with all its causes.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn every_cause_is_told_from_the_outermost_to_the_first() {
        let error = Link("opening", Some(Box::new(Link("reading", Some(Box::new(Link("EIO", None)))))));
        assert_eq!(chain(&error), "opening: reading: EIO");
        assert_eq!(chain(&Link("alone", None)), "alone");
    }
}
