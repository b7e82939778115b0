//! What has no engine in this version: it is refused, so that nothing pretends.

use super::errors::{Failure, Kind};
use super::reply::Reply;
use super::{Call, Swr};

/// Says that this version does not do it.
pub async fn refuse(_: &Swr, call: Call<'_>) -> Result<Reply, Failure> {
    Err(Failure::about(Kind::NotOffered, call.row.operation))
}
