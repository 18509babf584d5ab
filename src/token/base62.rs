//! Numbers of fixed width in base62, both ways.
//!
//! Invariant: each number has exactly one text, so a credential cannot be written in two ways.

use zeroize::Zeroizing;

/// In ASCII order; most significant digit first.
pub(super) const ALPHABET: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends a big-endian number as exactly `width` base62 digits, zero-padded.
pub(super) fn push_base62(text: &mut String, number: &[u8], width: usize) {
    let mut number = Zeroizing::new(number.to_vec());
    let mut digits = Zeroizing::new(vec![0u8; width]);
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[divide_by_62(&mut number)];
    }
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

/// Reads what [`push_base62`] wrote of `N` bytes with this `width`; nothing else, also no number
/// that is too large.
pub(super) fn read_base62<const N: usize>(text: &str, width: usize) -> Option<Zeroizing<[u8; N]>> {
    if text.len() != width {
        return None;
    }
    let mut number = Zeroizing::new([0u8; N]);
    for digit in text.bytes() {
        let value = value(digit)?;
        multiply_by_62_and_add(number.as_mut(), value)?;
    }
    Some(number)
}

/// Long division of a big-endian number in place; returns the remainder.
fn divide_by_62(number: &mut [u8]) -> usize {
    let mut remainder = 0usize;
    for byte in number {
        let value = remainder << 8 | usize::from(*byte);
        *byte = u8::try_from(value / 62).expect("the remainder is below 62, so this is below 256");
        remainder = value % 62;
    }
    remainder
}

/// `None` when the number does not fit any more.
fn multiply_by_62_and_add(number: &mut [u8], digit: u8) -> Option<()> {
    let mut carry = u32::from(digit);
    for byte in number.iter_mut().rev() {
        let value = u32::from(*byte) * 62 + carry;
        let [.., low] = value.to_be_bytes();
        *byte = low;
        carry = value >> 8;
    }
    (carry == 0).then_some(())
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_zero_padded_and_most_significant_digit_first() {
        let mut text = String::new();
        push_base62(&mut text, &62u32.to_be_bytes(), 6);
        assert_eq!(text, "000010");
    }

    #[test]
    fn what_is_no_number_of_that_size_is_refused() {
        // 2^32 - 1 and 2^32, made with Python.
        assert_eq!(read_base62::<4>("4gfFC3", 6).map(|n| *n), Some([0xff; 4]));
        for text in ["4gfFC4", "zzzzzz", "00001", "0000100", "00001-", "00001é"] {
            assert_eq!(read_base62::<4>(text, 6), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_comes_back(number: [u8; 32]) {
            let mut text = String::new();
            push_base62(&mut text, &number, 43);
            prop_assert_eq!(read_base62::<32>(&text, 43).map(|n| *n), Some(number));
        }
    }
}
