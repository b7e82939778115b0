//! What is shown of jobs, and why something asked of one is refused.

/// A job as it is now. Times are UTC milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// When it runs, in words: `every 30s`, `daily at 03:00 UTC`, `when asked`.
    pub schedule: String,
    /// Whether it may be paused.
    pub can_pause: bool,
    /// Whether it is.
    pub is_paused: bool,
    /// The run under way.
    pub running: Option<Running>,
    /// The last one that ended.
    pub last: Option<LastRun>,
    /// When the next one begins; none while it is paused or runs only when asked.
    pub next_at: Option<u64>,
    /// Runs that ended since the start.
    pub runs: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// When the last one that did not fail ended.
    pub succeeded_at: Option<u64>,
}

/// A run under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// When it began.
    pub began_at: u64,
    /// How far it is, if it says so.
    pub progress: Option<Progress>,
}

/// How far work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Things done.
    pub done: u64,
    /// Things there are, where that is known.
    pub total: Option<u64>,
    /// What things, in the plural.
    pub unit: &'static str,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// When it began.
    pub began_at: u64,
    /// When it ended.
    pub ended_at: u64,
    /// Whether it did what it was for.
    pub is_ok: bool,
    /// What it did, or why it did not; may be empty.
    pub text: String,
}

/// Why a job does not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none of that name.
    #[error("job {0:?} does not exist; `pierhead jobs list` names them")]
    Unknown(String),
    /// It is running.
    #[error("job {0} is running already")]
    Running(&'static str),
    /// It is not one that may wait.
    #[error("job {0} cannot be paused: the appliance needs it all the time")]
    Needed(&'static str),
    /// It is begun by a command of its own, and paused: it would wait, and hold up whoever asked.
    #[error("job {0} is paused; `pierhead jobs resume {0}` lets it be begun again")]
    Paused(&'static str),
    /// It runs only when somebody asks for it, by its own command.
    #[error("job {0} is begun by the command that is for it")]
    Asked(&'static str),
    /// It is paused by a command of its own, which is remembered over restarts.
    #[error("job {0} is paused, and let go on, by the command that is for it")]
    Own(&'static str),
    /// The appliance stops.
    #[error("the server is stopping")]
    Stopping,
}
