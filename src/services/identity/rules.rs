//! What names and descriptions may be.

use crate::services::error::Error;
use crate::services::signin::access_key::AccessKey;

const MAX_NAME: usize = 64;
/// Characters of a description.
const MAX_DESCRIPTION: usize = 255;
/// Roles, and policies, of one user or group.
pub const MAX_ATTACHED: usize = 32;

/// A name of an account, user, group or policy: 1 to 64 letters, digits, `.`, `_` and `-`, a letter
/// first. Access keys' names are told from accounts' by their form, so no name has that.
pub fn name(field: &'static str, text: &str) -> Result<(), Error> {
    let lettered = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let known = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if lettered && known && text.len() <= MAX_NAME && !AccessKey::is_id(text) && text != "bearertoken" {
        return Ok(());
    }
    let why =
        "1 to 64 letters, digits, '.', '_' and '-', a letter first, and not like an access key".to_owned();
    Err(Error::Invalid { field, why })
}

/// A description: at most 255 characters, none of them control characters.
pub fn description(text: &str) -> Result<(), Error> {
    if text.chars().count() <= MAX_DESCRIPTION && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let why = format!("at most {MAX_DESCRIPTION} characters, none of them control characters");
    Err(Error::Invalid { field: "description", why })
}

/// Roles or policies of one user or group.
pub fn attached<T>(field: &'static str, all: &[T]) -> Result<(), Error> {
    if all.len() <= MAX_ATTACHED {
        return Ok(());
    }
    Err(Error::Invalid { field, why: format!("at most {MAX_ATTACHED}") })
}
