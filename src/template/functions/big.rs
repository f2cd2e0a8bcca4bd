//! Unsigned integers of any size, as far as exact decimal arithmetic needs them.
//!
//! Digits are of base 10⁹, the least first, none of them zero at the end.

const BASE: u64 = 1_000_000_000;
const BASE_DIGITS: usize = 9;

/// A number without sign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Big {
    digits: Vec<u32>,
}

impl Big {
    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Digits of base 10⁹.
    pub(super) fn size(&self) -> usize {
        self.digits.len()
    }

    /// From decimal digits; what is no digit is left out.
    pub(super) fn from_decimal(text: &[u8]) -> Self {
        let text: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
        let digits = text.rchunks(BASE_DIGITS);
        let digit = |chunk: &[u8]| chunk.iter().fold(0, |number, byte| number * 10 + u32::from(byte - b'0'));
        Big { digits: digits.map(digit).collect() }.trimmed()
    }

    /// Decimal digits without zeros before them; zero has none.
    pub(super) fn to_decimal(&self) -> String {
        let mut out = String::new();
        for (at, digit) in self.digits.iter().rev().enumerate() {
            out.push_str(&if at == 0 { digit.to_string() } else { format!("{digit:0BASE_DIGITS$}") });
        }
        out
    }

    fn trimmed(mut self) -> Self {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        self
    }

    pub(super) fn compare(&self, other: &Big) -> std::cmp::Ordering {
        let lengths = self.digits.len().cmp(&other.digits.len());
        lengths.then_with(|| self.digits.iter().rev().cmp(other.digits.iter().rev()))
    }

    pub(super) fn add(&self, other: &Big) -> Big {
        let (long, short) = if self.digits.len() >= other.digits.len() { (self, other) } else { (other, self) };
        let mut digits = Vec::with_capacity(long.digits.len() + 1);
        let mut carry = 0;
        for (at, digit) in long.digits.iter().enumerate() {
            let sum = u64::from(*digit) + u64::from(short.digits.get(at).copied().unwrap_or(0)) + carry;
            digits.push(low(sum));
            carry = sum / BASE;
        }
        digits.push(low(carry));
        Big { digits }.trimmed()
    }

    /// `self − other`, which must not be the larger.
    pub(super) fn subtract(&self, other: &Big) -> Big {
        let mut digits = Vec::with_capacity(self.digits.len());
        let mut borrow = 0;
        for (at, digit) in self.digits.iter().enumerate() {
            let taken = u64::from(other.digits.get(at).copied().unwrap_or(0)) + borrow;
            let digit = u64::from(*digit);
            borrow = u64::from(digit < taken);
            digits.push(low(digit + borrow * BASE - taken));
        }
        Big { digits }.trimmed()
    }

    pub(super) fn multiply(&self, other: &Big) -> Big {
        let mut digits = vec![0_u32; self.digits.len() + other.digits.len()];
        for (at, a) in self.digits.iter().enumerate() {
            let mut carry = 0;
            for (offset, b) in other.digits.iter().enumerate() {
                let sum = u64::from(*a) * u64::from(*b) + u64::from(digits[at + offset]) + carry;
                digits[at + offset] = low(sum);
                carry = sum / BASE;
            }
            digits[at + other.digits.len()] = low(carry);
        }
        Big { digits }.trimmed()
    }

    fn multiply_small(&self, by: u64) -> Big {
        self.multiply(&Big { digits: vec![low(by), low(by / BASE)] }.trimmed())
    }

    /// `self × 10^power`.
    pub(super) fn shifted(&self, power: usize) -> Big {
        if self.is_zero() {
            return Big::default();
        }
        let mut digits = vec![0; power / BASE_DIGITS];
        digits.extend_from_slice(&self.digits);
        let rest = u32::try_from(power % BASE_DIGITS).unwrap_or(0);
        Big { digits }.multiply_small(10_u64.pow(rest))
    }

    /// Quotient and remainder; of a division by zero, zero and the number itself.
    pub(super) fn divide(&self, by: &Big) -> (Big, Big) {
        if by.is_zero() || self.compare(by).is_lt() {
            return (Big::default(), self.clone());
        }
        let mut quotient = vec![0; self.digits.len()];
        let mut remainder = Big::default();
        for (at, digit) in self.digits.iter().enumerate().rev() {
            remainder.digits.insert(0, *digit);
            remainder = remainder.trimmed();
            let digit = quotient_digit(&remainder, by);
            remainder = remainder.subtract(&by.multiply_small(digit));
            quotient[at] = low(digit);
        }
        (Big { digits: quotient }.trimmed(), remainder)
    }
}

/// How often `by` goes into `number`, less than [`BASE`] times.
fn quotient_digit(number: &Big, by: &Big) -> u64 {
    let (mut least, mut beyond) = (0, BASE);
    while beyond - least > 1 {
        let middle = least + (beyond - least) / 2;
        match by.multiply_small(middle).compare(number) {
            std::cmp::Ordering::Greater => beyond = middle,
            _ => least = middle,
        }
    }
    least
}

fn low(number: u64) -> u32 {
    u32::try_from(number % BASE).expect("a remainder by 10⁹ fits 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic() {
        let big = |text: &str| Big::from_decimal(text.as_bytes());
        let check = |result: Big, expected: &str| assert_eq!(result.to_decimal(), expected);
        check(big("999999999").add(&big("1")), "1000000000");
        check(big("1000000000000000000").subtract(&big("1")), "999999999999999999");
        check(
            big("123456789012345678901234567890").multiply(&big("987654321")),
            "121932631124828532112482853211126352690",
        );
        check(big("7").shifted(20), "700000000000000000000");
        let (quotient, remainder) = big("1000000000000000000000000000001").divide(&big("333333333333"));
        check(quotient, "3000000000003000000");
        check(remainder, "1000001");
        assert!(big("0000").is_zero());
    }
}
