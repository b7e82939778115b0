//! DER, as far as a certificate needs it: values with tags of one byte and lengths of up to four.
//! Every step either takes bytes away or is none, so that no input keeps a reader busy.

/// Tags that occur in what is read.
pub mod tag {
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const OCTETS: u8 = 0x04;
    pub const OID: u8 = 0x06;
    pub const UTF8: u8 = 0x0c;
    pub const PRINTABLE: u8 = 0x13;
    pub const IA5: u8 = 0x16;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERAL_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    /// Of a certificate's body.
    pub const VERSION: u8 = 0xa0;
    pub const ISSUER_ID: u8 = 0x81;
    pub const SUBJECT_ID: u8 = 0x82;
    pub const EXTENSIONS: u8 = 0xa3;
    /// Of the names a certificate is for.
    pub const DNS_NAME: u8 = 0x82;
    pub const ADDRESS: u8 = 0x87;
}

/// Object identifiers, as they are encoded.
pub mod oid {
    pub const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    pub const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
}

/// Values one after another.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next value, whatever it is: its tag and content. Nothing is taken if there is none.
    pub fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&kind, rest) = self.rest.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some((kind, content))
    }

    /// The content of the next value, which must be of this kind.
    pub fn take(&mut self, kind: u8) -> Option<&'a [u8]> {
        if self.rest.first() == Some(&kind) { self.next().map(|(_, content)| content) } else { None }
    }

    /// The values inside the next one, which must be of this kind.
    pub fn enter(&mut self, kind: u8) -> Option<Self> {
        self.take(kind).map(Self::new)
    }

    /// Passes over the next value if it is of this kind.
    pub fn skip_if(&mut self, kind: u8) {
        let _ = self.take(kind);
    }
}
