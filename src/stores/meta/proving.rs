//! The check of every row of an index that was taken as it lay (`mark`): by the writer, a page at a
//! time, so that what it changes meanwhile is accounted for. Either before the first commit, or a
//! fifth of the time between commits. An index found wrong is set aside and rebuilt
//! as one that broke.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::snapshots::REST;
use super::writer::Writer;

/// How the check goes.
#[derive(Default)]
pub(super) struct Proving {
    /// Commits wait for its end.
    first: bool,
    /// When the next page is due.
    next: Option<Instant>,
    began: Option<Instant>,
}

impl Proving {
    /// One that commits wait for, if `first`.
    pub(super) fn new(first: bool) -> Self {
        Self { first, ..Self::default() }
    }

    /// Whether commits have to wait.
    pub(super) const fn comes_first(&self) -> bool {
        self.first
    }
}

impl Writer {
    /// How long until more rows are to be checked; `None` if none are left.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.index.as_ref()?.proof.as_ref()?;
        let next = self.proving.next.map(|next| next.saturating_duration_since(Instant::now()));
        Some(next.unwrap_or_default())
    }

    /// Checks some rows if it is time to: without end of commits too.
    pub(super) fn prove_when_due(&mut self) {
        if self.rest() == Some(Duration::ZERO) && !self.degraded() {
            self.prove_some();
        }
    }

    pub(super) fn is_proved(&self) -> bool {
        self.index.as_ref().is_some_and(|index| index.proof.is_none())
    }

    /// Checks all rows that are left, unless the store is closed meanwhile.
    pub(super) fn prove_all(&mut self) {
        while self.rest().is_some() && !self.shared.closed.load(Ordering::SeqCst) {
            self.prove_some();
        }
        if self.rest().is_none() {
            self.proving.first = false;
        }
    }

    /// Checks some rows, if any are left.
    pub(super) fn prove_some(&mut self) {
        if self.shared.view.load().is_broken() {
            return self.index_broke("a read failed");
        }
        let Some(index) = self.index.as_mut().filter(|index| index.proof.is_some()) else { return };
        let page = Instant::now();
        let began = *self.proving.began.get_or_insert(page);
        match index.prove_some() {
            Ok(false) => self.proving.next = Some(Instant::now() + page.elapsed() * REST),
            Ok(true) => {
                let (rows, took_ms) = (index.state.sums.total(), began.elapsed().as_millis());
                tracing::info!(rows, took_ms, "checked every row of the metadata index: it is right");
                self.report(None);
            }
            Err(error) => self.index_broke(&format!("its check found it wrong: {error}")),
        }
    }
}
