//! Floats computed with as decimals: `addf 0.1 0.2` is `0.3`.
//!
//! A float becomes the shortest decimal that reads back as it; sums, differences and products are exact, quotients
//! have sixteen digits after the point; the result is the nearest float.
//!
//! Errors: floats that are no numbers, and divisions by zero, in the words of Go's panics.

use std::cmp::Ordering;

use super::CallError;
use super::big::Big;
use crate::template::strconv::float::digits_of;

/// Digits after the point of a quotient.
const DIVISION_DIGITS: i32 = 16;

/// `±coefficient × 10^exponent`.
#[derive(Debug, Clone)]
pub(super) struct Decimal {
    is_negative: bool,
    coefficient: Big,
    exponent: i32,
}

impl Decimal {
    pub(super) fn from_f64(value: f64) -> Result<Self, CallError> {
        if !value.is_finite() {
            let name = if value.is_nan() {
                "NaN"
            } else if value < 0.0 {
                "-Inf"
            } else {
                "+Inf"
            };
            return Err(CallError::new(format!("Cannot create a Decimal from {name}")));
        }
        let shortest = digits_of(value.abs(), None);
        let count = i32::try_from(shortest.digits.len()).unwrap_or(0);
        Ok(Decimal {
            is_negative: value < 0.0,
            coefficient: Big::from_decimal(&shortest.digits),
            exponent: shortest.point - count,
        })
    }

    pub(super) fn to_f64(&self) -> f64 {
        if self.coefficient.is_zero() {
            return 0.0;
        }
        let magnitude: f64 = format!("{}e{}", self.coefficient.to_decimal(), self.exponent).parse().unwrap_or(f64::NAN);
        if self.is_negative { -magnitude } else { magnitude }
    }

    /// What an operation on it costs, roughly.
    pub(super) fn size(&self) -> usize {
        self.coefficient.size()
    }

    fn negated(&self) -> Self {
        Decimal { is_negative: !self.is_negative && !self.coefficient.is_zero(), ..self.clone() }
    }

    /// The coefficient at a smaller exponent.
    fn scaled(&self, exponent: i32) -> Big {
        self.coefficient.shifted(usize::try_from(self.exponent - exponent).unwrap_or(0))
    }

    pub(super) fn add(&self, other: &Self) -> Result<Self, CallError> {
        let exponent = self.exponent.min(other.exponent);
        let (a, b) = (self.scaled(exponent), other.scaled(exponent));
        let (is_negative, coefficient) = match (self.is_negative == other.is_negative, a.compare(&b)) {
            (true, _) => (self.is_negative, a.add(&b)),
            (false, Ordering::Less) => (other.is_negative, b.subtract(&a)),
            (false, _) => (self.is_negative, a.subtract(&b)),
        };
        Ok(Decimal { is_negative: is_negative && !coefficient.is_zero(), coefficient, exponent })
    }

    pub(super) fn subtract(&self, other: &Self) -> Result<Self, CallError> {
        self.add(&other.negated())
    }

    pub(super) fn multiply(&self, other: &Self) -> Result<Self, CallError> {
        let exponent = i64::from(self.exponent) + i64::from(other.exponent);
        let exponent =
            i32::try_from(exponent).map_err(|_| CallError::new(format!("exponent {exponent} overflows an int32!")))?;
        let coefficient = self.coefficient.multiply(&other.coefficient);
        let is_negative = self.is_negative != other.is_negative && !coefficient.is_zero();
        Ok(Decimal { is_negative, coefficient, exponent })
    }

    /// Rounded half away from zero.
    pub(super) fn divide(&self, other: &Self) -> Result<Self, CallError> {
        if other.coefficient.is_zero() {
            return Err(CallError::new("decimal division by 0"));
        }
        let shift = self.exponent - other.exponent + DIVISION_DIGITS;
        let distance = usize::try_from(shift.unsigned_abs()).unwrap_or(0);
        let (dividend, divisor) = match shift < 0 {
            true => (self.coefficient.clone(), other.coefficient.shifted(distance)),
            false => (self.coefficient.shifted(distance), other.coefficient.clone()),
        };
        let (mut quotient, remainder) = dividend.divide(&divisor);
        if remainder.add(&remainder).compare(&divisor).is_ge() {
            quotient = quotient.add(&Big::from_decimal(b"1"));
        }
        let is_negative = self.is_negative != other.is_negative && !quotient.is_zero();
        Ok(Decimal { is_negative, coefficient: quotient, exponent: -DIVISION_DIGITS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic() {
        let of = |value: f64| Decimal::from_f64(value).expect("a finite number");
        let check = |result: Result<Decimal, CallError>, expected: f64| {
            assert_eq!(result.expect("a result").to_f64(), expected);
        };
        check(of(0.1).add(&of(0.2)), 0.3);
        check(of(1.0).subtract(&of(1e-20)), 1.0);
        check(of(5.5).multiply(&of(-2.0)), -11.0);
        check(of(1.0).divide(&of(3.0)), 0.333_333_333_333_333_3);
        check(of(2.0).divide(&of(3.0)), 0.666_666_666_666_666_7);
        check(of(1e308).add(&of(1e-308)), 1e308);
        check(of(1e308).multiply(&of(1e308)), f64::INFINITY);
        assert!(of(1.0).divide(&of(0.0)).is_err());
        assert!(Decimal::from_f64(f64::NAN).is_err());
    }
}
