//! Bytes of an answer on their way out. HTTP/2 keeps them after the answer's body is gone, and
//! mixes them on the socket with frames that a client can ask for at will (PING, SETTINGS): only
//! the bytes themselves can say whether the client takes any.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::io::Pulse;

/// A piece of an answer; the pulse of its connection is told when bytes of it go, and when it is
/// gone.
pub struct Piece {
    bytes: Bytes,
    pulse: Arc<Pulse>,
}

impl Piece {
    /// `bytes`, given to the protocol now.
    pub fn new(bytes: Bytes, pulse: Arc<Pulse>) -> Self {
        pulse.offer(true);
        Self { bytes, pulse }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        if bytes > 0 {
            self.pulse.took();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.pulse.offer(false);
    }
}
