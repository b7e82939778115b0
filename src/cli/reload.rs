//! `pierhead reload`.

use super::Failure;
use super::admin::{Asked, read};
use crate::api::admin::ReloadView;

pub fn reload(asked: &Asked) -> Result<(), Failure> {
    let answer = asked.client()?.post("/api/v1/reload", None)?;
    asked.show(&answer, || Ok(format!("{}\n", read::<ReloadView>(&answer)?.message)))
}
