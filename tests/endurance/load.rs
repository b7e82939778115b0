//! A round: all writers at work until something ends it.

use super::writer::Turn;
use super::{Common, Habits, Writer};
use crate::support::Http;
use crate::support::wait::until_true;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A round of the size used here takes a second or two; under a tracer ten.
const ROUND: Duration = Duration::from_secs(120);

pub struct Load {
    pub writers: Vec<Writer>,
    pub common: Common,
}

impl Load {
    pub fn new(writers: usize, seed: u64, habits: Habits) -> Self {
        let writers = (0..writers).map(|number| Writer::new(number, seed, habits)).collect();
        Self { writers, common: Common::new("all/common") }
    }

    /// Changes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.writers.iter().map(|writer| writer.acknowledged).sum()
    }

    /// Works until `changes` more are acknowledged, then calls `end` with work under way; returns
    /// when every writer has noticed.
    pub fn round<T>(&mut self, http: Http, changes: u64, end: impl FnOnce() -> T) -> T {
        let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let common = &self.common;
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for writer in &mut self.writers {
                let (over, done) = (&over, &done);
                running.push(scope.spawn(move || {
                    let before = writer.acknowledged;
                    let mut counted = 0;
                    while !over.load(Ordering::SeqCst) {
                        let turn = writer.step(http, common);
                        let now = writer.acknowledged - before;
                        done.fetch_add(now - counted, Ordering::SeqCst);
                        counted = now;
                        if let Turn::Over(_) = turn {
                            break;
                        }
                    }
                }));
            }
            until_true("the writers make progress", ROUND, || {
                let working = running.iter().any(|thread| !thread.is_finished());
                done.load(Ordering::SeqCst) >= changes || !working
            });
            let result = end();
            over.store(true, Ordering::SeqCst);
            for thread in running {
                if let Err(panic) = thread.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            result
        })
    }

    /// Every writer's next `steps`, one after the other: the same requests in each run.
    pub fn script(&mut self, http: Http, steps: usize) {
        for _ in 0..steps {
            for writer in &mut self.writers {
                if let Turn::Over(_) = writer.step(http, &self.common) {
                    return;
                }
            }
        }
    }
}
