//! What goes into a change set with what the change set is about, such as the record that it was made.

use std::sync::Arc;

use super::{Meta, MetaError, Tx};

/// Something that is staged in the transaction that it belongs to, so that both are there or neither.
pub trait Attach: Send + Sync + 'static {
    /// Stages it, after the transaction's closure succeeded; on the writer's thread. An error ends the
    /// transaction.
    fn stage(&self, tx: &mut Tx<'_>) -> Result<(), MetaError>;
    /// The transaction was committed, or was not.
    fn settled(&self, done: bool);
}

/// What is attached, if anything is.
pub type Attached = Option<Arc<dyn Attach>>;

impl Meta {
    /// As [`Meta::commit`], with what is attached, if anything is.
    pub async fn commit_with<T, E, F>(&self, attached: Attached, closure: F) -> Result<T, E>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<MetaError> + Send + 'static,
    {
        let Some(attached) = attached else { return self.commit(closure).await };
        let staging = Arc::clone(&attached);
        let done = self.commit(move |tx| {
            let done = closure(tx)?;
            staging.stage(tx)?;
            Ok(done)
        });
        let done = done.await;
        attached.settled(done.is_ok());
        done
    }
}
