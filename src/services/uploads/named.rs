//! The last request of a session says what its content is, and content that the organisation has costs nothing, nor does
//! what another upload of the same name reserves. If the session outlives the request after all, that was no more
//! than said: what it brought has to fit then like anything else, or the session ends and leaves nothing. This is so
//! however the request ends, also where it is dropped.

use std::sync::Arc;

use pierhead_storage_format::Digest;

use super::session::{Session, Writing};
use super::{Uploads, ends};
use crate::seams::tasks;
use crate::services::error::Error;
use crate::stores::blobs::Upload;

/// The right to write a session whose content was named.
pub struct Named {
    uploads: Uploads,
    id: String,
    session: Arc<Session>,
    /// `None` once it is decided what becomes of the session.
    writing: Option<Writing>,
}

impl Named {
    /// The right to write `session`, unless another request has it, for what is said to be `digest`.
    pub fn begin(uploads: &Uploads, id: &str, session: &Arc<Session>, digest: Digest) -> Result<Self, Error> {
        let writing = session.write()?;
        session.room().name(digest);
        let (uploads, id, session) = (uploads.clone(), id.to_owned(), Arc::clone(session));
        Ok(Self { uploads, id, session, writing: Some(writing) })
    }

    /// The upload, unless the session has ended.
    pub fn upload(&mut self) -> Result<&mut Upload, Error> {
        self.writing.as_mut().ok_or(Error::UploadUnknown)?.upload()
    }

    /// Whether nothing can be done with the upload any more.
    pub fn is_over(&self) -> bool {
        self.writing.as_ref().is_some_and(Writing::is_over)
    }

    /// Ends the session and gives its space back.
    pub async fn end(mut self) {
        if let Some(mut writing) = self.writing.take() {
            self.uploads.end(&self.id, writing.take()).await;
        }
    }

    /// Lets the session go on, if what it brought fits.
    pub async fn goes_on(mut self) {
        if let Some(outcome) = self.outcome() {
            // A panic was logged, and the session is as it was.
            let _ = tasks::to_the_end(outcome).await;
        }
    }

    fn outcome(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut writing = self.writing.take()?;
        let (uploads, id, session) = (self.uploads.clone(), self.id.clone(), Arc::clone(&self.session));
        Some(async move {
            // Whoever aborts it waits for the right to end it.
            if session.abort().is_asked() {
                return;
            }
            let Ok(offset) = writing.upload().map(|upload| upload.offset()) else { return };
            if session.room().unname(offset).await.is_err_and(|error| ends(&error)) {
                uploads.end(&id, writing.take()).await;
            }
        })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome() {
            tasks::aside(outcome);
        }
    }
}
