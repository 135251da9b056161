//! The clock and the randomness of this machine: the only place where either is asked.

use std::fmt::Write;

use commands::{Clock, Ids};
use domain::Timestamp;
use uuid::Uuid;

/// This machine.
pub(crate) struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is where it is passed in from")]
    fn now(&self) -> Timestamp {
        time::OffsetDateTime::now_utc().into()
    }
}

impl Ids for System {
    #[expect(clippy::disallowed_methods, reason = "this is where they are passed in from")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn secret(&self) -> String {
        hex(&random())
    }
}

/// 256 bits that nobody can guess.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives us random bytes");
    bytes
}

/// The bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let hex = hex.trim();
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_read_as_they_are_written() {
        let bytes = random();
        assert_eq!(from_hex(&hex(&bytes)), Some(bytes));
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
