//! Arithmetic: of 64-bit integers, which wrap, and of floats through decimals, which do not drift.

use super::Parameter::{Any, Float, Int};
use super::cast::{to_float64, to_int64};
use super::decimal::Decimal;
use super::{Call, CallError, Function, ValueBody};
use crate::template::value::{Element, Operand, Value};

type Called<'a> = Result<Operand<'a>, CallError>;

pub(super) static SPRIG: &[Function] = &[
    Function::value("add1", &[Any], |call| int64(to_int64(call.value(0)).wrapping_add(1))),
    Function::value("add", &[], |call| int64(call.values(0).map(to_int64).fold(0, i64::wrapping_add))).and_more(Any),
    Function::value("sub", &[Any, Any], |call| int64(to_int64(call.value(0)).wrapping_sub(to_int64(call.value(1))))),
    Function::value("mul", &[Any], |call| int64(call.values(0).map(to_int64).fold(1, i64::wrapping_mul))).and_more(Any),
    Function::value("div", &[Any, Any], |call| {
        let by = divisor(call)?;
        int64(to_int64(call.value(0)).wrapping_div(by))
    }),
    Function::value("mod", &[Any, Any], |call| {
        let by = divisor(call)?;
        int64(to_int64(call.value(0)).wrapping_rem(by))
    }),
    Function::value("add1f", &[Any], |call| {
        let sum = decimal(call.value(0))?.add(&decimal(&Value::Int(1))?)?;
        Ok(Value::Float(sum.to_f64()).into())
    }),
    Function::value("addf", &[], |call| {
        let zero = decimal(&Value::Int(0))?;
        folded(call, Some(zero), Decimal::add)
    })
    .and_more(Any),
    Function::value("subf", &[Any], |call| folded(call, None, Decimal::subtract)).and_more(Any),
    Function::value("mulf", &[Any], |call| folded(call, None, Decimal::multiply)).and_more(Any),
    Function::value("divf", &[Any], |call| folded(call, None, Decimal::divide)).and_more(Any),
    Function::value("max", &[Any], MAX).and_more(Any),
    Function::value("biggest", &[Any], MAX).and_more(Any),
    Function::value("min", &[Any], |call| int64(call.values(0).map(to_int64).min().unwrap_or(0))).and_more(Any),
    Function::value("maxf", &[Any], |call| float(call.values(0).map(to_float64).reduce(go_max).unwrap_or(0.0)))
        .and_more(Any),
    Function::value("minf", &[Any], |call| float(call.values(0).map(to_float64).reduce(go_min).unwrap_or(0.0)))
        .and_more(Any),
    Function::value("ceil", &[Any], |call| float(to_float64(call.value(0)).ceil())),
    Function::value("floor", &[Any], |call| float(to_float64(call.value(0)).floor())),
    Function::value("round", &[Any, Int], round).and_more(Float),
    Function::value("until", &[Int], |call| {
        let end = call.int(0);
        steps(call, 0, end, if end < 0 { -1 } else { 1 })
    }),
    Function::value("untilStep", &[Int, Int, Int], |call| {
        let (start, end, step) = (call.int(0), call.int(1), call.int(2));
        steps(call, start, end, step)
    }),
    Function::text("seq", &[], seq).and_more(Int),
];

const MAX: ValueBody = |call| int64(call.values(0).map(to_int64).max().unwrap_or(0));

fn int64<'a>(number: i64) -> Called<'a> {
    Ok(Value::Int64(number).into())
}

fn float<'a>(number: f64) -> Called<'a> {
    Ok(Value::Float(number).into())
}

fn divisor(call: &Call<'_, '_>) -> Result<i64, CallError> {
    match to_int64(call.value(1)) {
        0 => Err(CallError::new("runtime error: integer divide by zero")),
        by => Ok(by),
    }
}

fn decimal(value: &Value<'_>) -> Result<Decimal, CallError> {
    Decimal::from_f64(to_float64(value))
}

/// The arguments combined from the left, from `first` or the first of them.
fn folded<'a>(
    call: &mut Call<'_, 'a>,
    first: Option<Decimal>,
    combine: fn(&Decimal, &Decimal) -> Result<Decimal, CallError>,
) -> Called<'a> {
    let mut result = first;
    for value in call.values(0) {
        let next = decimal(value)?;
        // Products grow with each argument.
        call.charge_items(1 + result.as_ref().map_or(0, Decimal::size))?;
        result = Some(match &result {
            Some(known) => combine(known, &next)?,
            None => next,
        });
    }
    float(result.map_or(0.0, |result| result.to_f64()))
}

/// Go's `math.Max`: no number wins over all but infinity.
fn go_max(a: f64, b: f64) -> f64 {
    match () {
        () if a == f64::INFINITY || b == f64::INFINITY => f64::INFINITY,
        () if a.is_nan() || b.is_nan() => f64::NAN,
        () if a == 0.0 && b == 0.0 => {
            if a.is_sign_negative() {
                b
            } else {
                a
            }
        }
        () if a > b => a,
        () => b,
    }
}

fn go_min(a: f64, b: f64) -> f64 {
    -go_max(-a, -b)
}

/// Rounds to places after the point; the third argument is the part from which it rounds up.
fn round<'a>(call: &mut Call<'_, 'a>) -> Called<'a> {
    let up_from = call.float(2).unwrap_or(0.5);
    let power = go_power_of_ten(call.int(1));
    let shifted = power * to_float64(call.value(0));
    // Go's fractional part of infinity is no number, and compares with nothing.
    let fraction = if shifted.is_infinite() { f64::NAN } else { shifted.fract() };
    float(if fraction >= up_from { shifted.ceil() } else { shifted.floor() } / power)
}

/// Go's `math.Pow(10, exponent)`, whose last digit is that of repeated squaring.
fn go_power_of_ten(exponent: i64) -> f64 {
    // Squares beyond this are infinite or nothing, whatever is left of the exponent.
    const BINARY_EXPONENT_MAX: i32 = 1 << 12;
    if exponent == 1 {
        return 10.0;
    }
    // 10 is 0.625 × 2⁴.
    let (mut square, mut square_exponent) = (0.625, 4);
    let (mut mantissa, mut binary_exponent) = (1.0, 0);
    let mut rest = exponent.unsigned_abs();
    while rest != 0 {
        if square_exponent > BINARY_EXPONENT_MAX {
            binary_exponent += square_exponent;
            break;
        }
        if rest & 1 == 1 {
            mantissa *= square;
            binary_exponent += square_exponent;
        }
        square *= square;
        square_exponent *= 2;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        rest >>= 1;
    }
    if exponent < 0 {
        mantissa = 1.0 / mantissa;
        binary_exponent = -binary_exponent;
    }
    // In two steps, as one power of two may be out of range.
    let first = binary_exponent.clamp(-1_000, 1_000);
    mantissa * 2_f64.powi(first) * 2_f64.powi((binary_exponent - first).clamp(-1_074, 1_023))
}

fn steps<'a>(call: &mut Call<'_, 'a>, start: i64, end: i64, step: i64) -> Called<'a> {
    let numbers = numbers(start, end, step)?;
    call.list(numbers.into_iter().map(Value::Int).collect(), Element::Int)
}

/// From `start` towards `end`, which is left out; nothing when the step goes the other way.
fn numbers(start: i64, end: i64, step: i64) -> Result<Vec<i64>, CallError> {
    use crate::template::limits::{LIST_ITEMS_MAX, LimitError};
    let mut numbers = Vec::new();
    let is_down = end < start;
    if is_down && step >= 0 || !is_down && step <= 0 {
        return Ok(numbers);
    }
    let mut number = start;
    while if is_down { number > end } else { number < end } {
        if numbers.len() >= LIST_ITEMS_MAX {
            return Err(LimitError::Items.into());
        }
        numbers.push(number);
        let Some(next) = number.checked_add(step) else { break };
        number = next;
    }
    Ok(numbers)
}

/// `seq 1 2 9`: numbers between spaces, like the command.
fn seq(call: &mut Call<'_, '_>, out: &mut Vec<u8>) -> Result<(), CallError> {
    let (start, step, end) = match call.arguments().len() {
        1 => (1, 0, call.int(0)),
        2 => (call.int(0), 0, call.int(1)),
        3 => (call.int(0), call.int(1), call.int(2)),
        _ => return Ok(()),
    };
    let towards = if end < start { -1 } else { 1 };
    if call.arguments().len() == 3 && end < start && step > 0 {
        return Ok(());
    }
    let step = if call.arguments().len() == 3 { step } else { towards };
    let numbers = numbers(start, end.wrapping_add(towards), step)?;
    call.charge_items(numbers.len())?;
    for (at, number) in numbers.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(number.to_string().as_bytes());
    }
    Ok(())
}
