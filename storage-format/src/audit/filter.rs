//! Which frames of a segment need not be read: for each a Bloom filter over what its events are looked
//! for by. It may say yes wrongly, about once in a thousand, and never says no wrongly.

use std::collections::HashSet;

use super::event::EventView;

/// Bits for each value.
const BITS: usize = 15;
/// Bits set for each value.
const HASHES: u64 = 10;

/// What events are looked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Field {
    /// The account's id, 16 bytes.
    Account = 1,
    /// The user's id as 32 hex digits, or his name.
    User = 2,
    /// The resource's type.
    ResourceType = 3,
    /// The resource's name or id.
    Resource = 4,
    /// The trace name.
    Name = 5,
}

/// A value of a field, hashed as filters have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hashed(u64, u64);

impl Hashed {
    /// Of this value.
    pub fn new(field: Field, value: &[u8]) -> Self {
        let hash = blake3::Hasher::new().update(&[field as u8]).update(value).finalize();
        let (mut first, mut second) = ([0; 8], [0; 8]);
        first.copy_from_slice(&hash.as_bytes()[..8]);
        second.copy_from_slice(&hash.as_bytes()[8..16]);
        Self(u64::from_le_bytes(first), u64::from_le_bytes(second) | 1)
    }

    fn bits(self, of: u64) -> impl Iterator<Item = u64> {
        (0..HASHES).map(move |n| self.0.wrapping_add(n.wrapping_mul(self.1)) % of)
    }

    /// Whether a frame with this filter may have such an event. An empty filter says yes.
    pub fn may_be_in(self, filter: &[u8]) -> bool {
        let bits = filter.len() as u64 * 8;
        bits == 0
            || self.bits(bits).all(|bit| {
                let byte = usize::try_from(bit / 8).ok().and_then(|at| filter.get(at));
                byte.is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
            })
    }
}

/// What a filter is made of, as the events come.
#[derive(Default)]
pub(super) struct Values(HashSet<Hashed>);

impl Values {
    pub(super) fn add(&mut self, event: &EventView<'_>) {
        if let Some(account) = event.account {
            self.0.insert(Hashed::new(Field::Account, account.as_bytes()));
        }
        if let Some(user) = event.user {
            self.0.insert(Hashed::new(Field::User, user.to_string().as_bytes()));
        }
        let texts = [
            (Field::User, event.user_name),
            (Field::ResourceType, event.resource_type),
            (Field::Resource, event.resource),
            (Field::Resource, event.resource_id),
            (Field::Name, event.name),
        ];
        self.0.extend(texts.iter().map(|(field, text)| Hashed::new(*field, text.as_bytes())));
    }

    pub(super) fn filter(&self) -> Vec<u8> {
        let mut filter = vec![0u8; (self.0.len() * BITS).div_ceil(64) * 8];
        let bits = filter.len() as u64 * 8;
        for bit in self.0.iter().flat_map(|value| value.bits(bits)) {
            if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| filter.get_mut(at)) {
                *byte |= 1 << (bit % 8);
            }
        }
        filter
    }
}
