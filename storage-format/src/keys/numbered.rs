//! Keys that are one number and nothing else.

/// A key of one field, a number. The table is followed by the record and the field, with what that says.
macro_rules! numbered_key {
    ($(#[$doc:meta])* $name:ident, $table:ident, $record:ty, $field:ident, $says:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            #[doc = $says]
            pub $field: u64,
        }

        impl $crate::keys::TableKey for $name {
            const TABLE: $crate::keys::Table = $crate::keys::Table::$table;
            type Record = $record;

            fn encode(&self) -> Vec<u8> {
                self.$field.to_be_bytes().to_vec()
            }

            fn decode(key: &[u8]) -> Result<Self, $crate::FormatError> {
                match $crate::keys::number(key)? {
                    ($field, []) => Ok(Self { $field }),
                    _ => Err($crate::FormatError::Key),
                }
            }
        }
    };
}

pub(crate) use numbered_key;
