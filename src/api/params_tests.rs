//! Parameters, one line a case; texts are those recorded from Loki where golden rows have them.

use super::*;

const NOW: UnixNanos = UnixNanos(2_000_000_000_000_000_000);

#[test]
fn times() {
    let check = |text: &str, expected: Result<i64, &str>| {
        assert_eq!(
            timestamp(text, NOW).map(|t| t.0).map_err(|e| e.to_string()),
            expected.map_err(str::to_owned),
            "{text}"
        );
    };
    check("", Ok(NOW.0));
    check("1768471200", Ok(1_768_471_200_000_000_000));
    check("4000000000", Ok(4_000_000_000_000_000_000));
    check("1768471200000000001", Ok(1_768_471_200_000_000_001));
    check("1768471200.5", Ok(1_768_471_200_500_000_000));
    check("1768471200.0004", Ok(1_768_471_200_000_000_000));
    check("1768471200.0006", Ok(1_768_471_200_001_000_000));
    check("-1.5", Ok(-1_500_000_000));
    check("2026-01-15T10:00:00Z", Ok(1_768_471_200_000_000_000));
    check("2026-01-15T12:00:00.25+02:00", Ok(1_768_471_200_250_000_000));
    check("abc", Err("strconv.ParseInt: parsing \"abc\": invalid syntax"));
    check("99999999999999999999", Err("strconv.ParseInt: parsing \"99999999999999999999\": value out of range"));
}

#[test]
fn ranges() {
    let check = |query: &str, expected: Result<(i64, i64, i64, i64), &str>| {
        let got = RangeParams::parse(&Params::parse(b"", query), NOW)
            .map(|range| (range.start.0, range.end.0, range.step_ns, range.interval_ns))
            .map_err(|error| error.text);
        assert_eq!(got, expected.map_err(str::to_owned), "{query}");
    };
    let (hour, second) = (3_600_000_000_000, 1_000_000_000);
    check("", Ok((NOW.0 - hour, NOW.0, 14 * second, 0)));
    check("since=2h", Ok((NOW.0 - 2 * hour, NOW.0, 28 * second, 0)));
    check(
        "start=1768471200&end=1768478400&step=10m&interval=1.5",
        Ok((1_768_471_200 * second, 1_768_478_400 * second, 600 * second, 1_500_000_000)),
    );
    check("start=10&end=20&step=0.0015", Ok((10 * second, 20 * second, 1_000_000, 0)));
    check("end=4000000000", Ok((NOW.0 - hour, 4_000_000_000 * second, 8_000_014 * second, 0)));
    check("start=20&end=10", Err("end timestamp must not be before or equal to start time"));
    check("start=10&end=10", Ok((10 * second, 10 * second, second, 0)));
    check(
        "start=abc&end=10",
        Err("could not parse 'start' parameter: strconv.ParseInt: parsing \"abc\": invalid syntax"),
    );
    check("since=1.5h", Err("could not parse 'since' parameter: unknown unit \".\" in duration \"1.5h\""));
    check("step=0", Err("zero or negative query resolution step widths are not accepted. Try a positive integer"));
    check("step=-5", Err("zero or negative query resolution step widths are not accepted. Try a positive integer"));
    check("step=1.5s", Err("cannot parse \"1.5s\" to a valid duration"));
    check(
        "step=0.1",
        Err(
            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter",
        ),
    );
    check("interval=-1", Err("interval must be >= 0"));
    check("limit=0", Err("limit must be a positive value"));
    check("limit=x", Err("strconv.Atoi: parsing \"x\": invalid syntax"));
    check("limit=5000000000", Err("limit value 5000000000 is out of range [0, 4294967295]"));
    check("direction=sideways", Err("invalid direction 'sideways'"));
}

#[test]
fn directions_ignore_case_and_bodies_come_first() {
    let params =
        Params::parse(b"direction=FORWARD&query=%7Ba%3D%22b+c%22%7D", "direction=backward&match[]=1&match%5B%5D=2");
    assert_eq!(params.get("query"), "{a=\"b c\"}");
    assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(RangeParams::parse(&params, NOW).map(|range| range.direction), Ok(Direction::Forward));
}
