//! What a row of a surface's table is called in the trail, and when it is recorded.
//!
//! Names and resource types are the hosted service's where its list has them, its misspelling of
//! `deleteUserNamesapce` included, since scripts match them; ours are made alike.

/// When an operation is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Never.
    Never,
    /// It changes something: always, in its change set.
    Change,
    /// It reads: where the settings have reads recorded, and when it was refused.
    Read,
    /// It pulls: where the settings have pulls recorded, and when it was refused.
    Pull,
    /// When it was refused, or the appliance failed.
    Refused,
}

/// An operation as the trail names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The trace name.
    pub name: &'static str,
    /// The type of the resource.
    pub resource_type: &'static str,
    /// When it is recorded.
    pub when: When,
    /// The status of an answer that says it was done: what the event of a change has, which is written
    /// before there is an answer.
    pub done: u16,
}

impl Operation {
    /// Never recorded.
    pub const NONE: Self = Self { name: "", resource_type: "", when: When::Never, done: 200 };

    /// Changes something; `done` is the status of its success.
    pub const fn change(name: &'static str, resource_type: &'static str, done: u16) -> Self {
        Self { name, resource_type, when: When::Change, done }
    }

    /// Reads.
    pub const fn read(name: &'static str, resource_type: &'static str) -> Self {
        Self { name, resource_type, when: When::Read, done: 200 }
    }

    /// Pulls.
    pub const fn pull(name: &'static str, resource_type: &'static str) -> Self {
        Self { name, resource_type, when: When::Pull, done: 200 }
    }

    /// Recorded when it is refused.
    pub const fn refused(name: &'static str, resource_type: &'static str) -> Self {
        Self { name, resource_type, when: When::Refused, done: 200 }
    }

    pub(super) const fn is_recorded_when_refused(&self) -> bool {
        !matches!(self.when, When::Never)
    }
}
