//! The shape of a surface's table of errors: kind, status, code and message in one row each. Each
//! surface has a table of its own, which a golden file holds.

/// Makes `Kind` from its rows; `{}` in a message stands for a fact.
macro_rules! kinds {
    ($($kind:ident = $status:ident $code:literal $message:literal;)*) => {
        /// What went wrong, as this surface tells it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $message] $kind,)*
        }

        impl Kind {
            /// Every kind.
            #[cfg(test)]
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Status, code and message.
            pub const fn row(self) -> (hyper::StatusCode, &'static str, &'static str) {
                match self {
                    $(Self::$kind => (hyper::StatusCode::$status, $code, $message),)*
                }
            }
        }
    };
}

pub(crate) use kinds;
