//! Times and durations against the answers of Go.

use super::*;

fn zone(name: &str) -> Zone {
    Zone::load(name).expect(name)
}

#[test]
fn formatted() {
    let check = |layout: &str, nanos: i64, name: &str, expected: &str| {
        assert_eq!(GoTime::from_unix_nanos(nanos, zone(name)).format(layout), expected, "{layout} {nanos} {name}");
    };
    check("2006-01-02T15:04:05Z07:00", 1_700_000_000_123_456_789, "UTC", "2023-11-14T22:13:20Z");
    check(
        "2006-01-02T15:04:05.999999999Z07:00",
        1_700_000_000_123_456_789,
        "Europe/Warsaw",
        "2023-11-14T23:13:20.123456789+01:00",
    );
    check(
        "2006-01-02 15:04:05.999999999 -0700 MST",
        1_700_000_000_123_456_789,
        "Asia/Kolkata",
        "2023-11-15 03:43:20.123456789 +0530 IST",
    );
    check(
        "Mon Jan _2 15:04:05 MST 2006",
        1_700_000_000_123_456_789,
        "America/New_York",
        "Tue Nov 14 17:13:20 EST 2023",
    );
    check("Monday, 02-Jan-06 3:04:05PM", 1_700_000_000_123_456_789, "UTC", "Tuesday, 14-Nov-23 10:13:20PM");
    check("02/Jan/2006:15:04:05 -0700", 1_700_000_000_123_456_789, "America/St_Johns", "14/Nov/2023:18:43:20 -0330");
    check(
        ".000 .00 ,000000 .999 ,9 .0000000000",
        1_700_000_000_123_456_789,
        "UTC",
        ".123 .12 ,123456 .123 ,1 .123456789",
    );
    check("2006-002 __2 __2006 _2006", 1_700_000_000_123_456_789, "UTC", "2023-318 318 318023 _2023");
    check(
        "Z0700 Z07 Z07:00:00 -07:00 -07 -070000",
        1_700_000_000_123_456_789,
        "Asia/Tehran",
        "+0330 +03 +03:30:00 +03:30 +03 +033000",
    );
    check("Z0700 Z07 -0700", 1_700_000_000_123_456_789, "UTC", "Z Z +0000");
    check("pm PM 03 3 04 4 05 5 1 01 2 02", 1_700_000_000_123_456_789, "UTC", "pm PM 10 10 13 13 20 20 11 11 14 14");
    check("Janu January Jan Month Mon Mond", 1_700_000_000_123_456_789, "UTC", "Janu November Nov Month Tue Mond");
    check("MST", 1_700_000_000_123_456_789, "America/Sao_Paulo", "-03");
    check("MST", 0, "Europe/London", "BST");
    check("2006-01-02 MST", 2_500_000_000_000_000_000, "Europe/London", "2049-03-22 GMT");
    check("2006-01-02T15:04:05 MST", 9_000_000_000_000_000_000, "Europe/Warsaw", "2255-03-14T17:00:00 CET");
    check("2006-01-02", -9_000_000_000_000_000_000, "UTC", "1684-10-19");
    check("é2006日", 1_700_000_000_123_456_789, "UTC", "é2023日");
}

/// The time, its zone, and the instant in seconds and nanoseconds.
fn shown(time: &GoTime) -> String {
    let text = time.format("2006-01-02T15:04:05.999999999Z07:00:00 MST");
    format!("{text} {} {} {}", time.zone().name(), time.unix_seconds(), time.nanosecond())
}

#[test]
fn parsed() {
    let check = |layout: &str, text: &str, name: &str, expected: &str| {
        let time = parse_in_location(layout, text, &zone(name));
        assert_eq!(
            time.map_or_else(|error| error.to_string(), |time| shown(&time)),
            expected,
            "{layout} {text} {name}"
        );
    };
    check("2006-01-02T15:04:05Z07:00", "2023-07-14T10:20:30Z", "UTC", "2023-07-14T10:20:30Z UTC UTC 1689330030 0");
    check(
        "2006-01-02T15:04:05Z07:00",
        "2023-07-14T10:20:30.123456789123+02:00",
        "UTC",
        "2023-07-14T10:20:30.123456789+02:00:00 +0200  1689322830 123456789",
    );
    check(
        "2006-01-02T15:04:05Z07:00",
        "2023-07-14T10:20:30+02:00",
        "Europe/Warsaw",
        "2023-07-14T10:20:30+02:00:00 CEST Europe/Warsaw 1689322830 0",
    );
    check(
        "2006-01-02 15:04:05",
        "2023-07-14 10:20:30",
        "Europe/Warsaw",
        "2023-07-14T10:20:30+02:00:00 CEST Europe/Warsaw 1689322830 0",
    );
    check(
        "2006-01-02 15:04:05",
        "2023-03-26 02:30:00",
        "Europe/Warsaw",
        "2023-03-26T03:30:00+02:00:00 CEST Europe/Warsaw 1679794200 0",
    );
    check(
        "2006-01-02 15:04:05",
        "2023-10-29 02:30:00",
        "Europe/Warsaw",
        "2023-10-29T02:30:00+01:00:00 CET Europe/Warsaw 1698543000 0",
    );
    check("2006-01-02 15:04:05", "2023-07-14 10:20:30,5", "UTC", "2023-07-14T10:20:30.5Z UTC UTC 1689330030 500000000");
    check(
        "Mon Jan _2 15:04:05 MST 2006",
        "Fri Jul  7 10:20:30 CEST 2023",
        "Europe/Warsaw",
        "2023-07-07T10:20:30+02:00:00 CEST Europe/Warsaw 1688718030 0",
    );
    check(
        "Mon Jan _2 15:04:05 MST 2006",
        "fri JUL 14 10:20:30 XYZ 2023",
        "UTC",
        "2023-07-14T10:20:30Z XYZ XYZ 1689330030 0",
    );
    check(
        "02 Jan 06 15:04 MST",
        "14 Jul 69 10:20 GMT+3",
        "UTC",
        "1969-07-14T13:20:00+03:00:00 GMT+3 GMT+3 -14737200 0",
    );
    check(
        "02 Jan 06 15:04 MST",
        "14 Jul 68 10:20 EST",
        "America/New_York",
        "2068-07-14T11:20:00-04:00:00 EDT America/New_York 3109504800 0",
    );
    check(
        "02 Jan 06 15:04 MST",
        "14 Jul 68 10:20 UTC",
        "America/New_York",
        "2068-07-14T10:20:00Z UTC UTC 3109486800 0",
    );
    check("3:04PM", "12:05AM", "UTC", "0000-01-01T00:05:00Z UTC UTC -62167218900 0");
    check("3:04pm", "1:05pm", "UTC", "0000-01-01T13:05:00Z UTC UTC -62167172100 0");
    check("2006-002", "2024-060", "UTC", "2024-02-29T00:00:00Z UTC UTC 1709164800 0");
    check("2006-002", "2023-366", "UTC", r#"parsing time "2023-366": day-of-year out of range"#);
    check(
        "2006-01-02 002",
        "2023-01-02 003",
        "UTC",
        r#"parsing time "2023-01-02 003": day-of-year does not match day"#,
    );
    check(
        "02/Jan/2006:15:04:05 -0700",
        "14/Jul/2023:10:20:30 -0530",
        "UTC",
        "2023-07-14T10:20:30-05:30:00 -0530  1689349830 0",
    );
    check("15:04:05.000", "10:20:30.123", "UTC", "0000-01-01T10:20:30.123Z UTC UTC -62167181970 123000000");
    check(
        "15:04:05.000",
        "10:20:30.12",
        "UTC",
        r#"parsing time "10:20:30.12" as "15:04:05.000": cannot parse ".12" as ".000""#,
    );
    check("15:04:05.999", "10:20:30", "UTC", "0000-01-01T10:20:30Z UTC UTC -62167181970 0");
    check("2006-01-02", "2023-13-01", "UTC", r#"parsing time "2023-13-01": month out of range"#);
    check("2006-01-02", "2023-02-29", "UTC", r#"parsing time "2023-02-29": day out of range"#);
    check("2006-01-02", "2023-1-01", "UTC", r#"parsing time "2023-1-01" as "2006-01-02": cannot parse "1-01" as "01""#);
    check("2006-01-02", "2023-01-01x", "UTC", r#"parsing time "2023-01-01x": extra text: "x""#);
    check("2006-01-02", "x", "UTC", r#"parsing time "x" as "2006-01-02": cannot parse "x" as "2006""#);
    check("15:04", "25:00", "UTC", r#"parsing time "25:00": hour out of range"#);
    check("15:04", "10:60", "UTC", r#"parsing time "10:60": minute out of range"#);
    check("-0700", "+2500", "UTC", r#"parsing time "+2500": time zone offset hour out of range"#);
    check("-0700", "+0161", "UTC", r#"parsing time "+0161": time zone offset minute out of range"#);
    check("Z07:00", "+02.00", "UTC", r#"parsing time "+02.00" as "Z07:00": cannot parse "+02.00" as "Z07:00""#);
    check("MST", "abc", "UTC", r#"parsing time "abc" as "MST": cannot parse "abc" as "MST""#);
    check("Jan", "xyz", "UTC", r#"parsing time "xyz" as "Jan": cannot parse "xyz" as "Jan""#);
    check(
        r#"2006 "x""#,
        r#"2023 "é""#,
        "UTC",
        r#"parsing time "2023 \"\xc3\xa9\"" as "2006 \"x\"": cannot parse "\xc3\xa9\"" as " \"x\"""#,
    );
    check("2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 +03", "UTC", "2006-01-02T15:04:05Z +03 +03 1136214245 0");
    check("a  b 2006", "a b 2023", "UTC", "2023-01-01T00:00:00Z UTC UTC 1672531200 0");
}

#[test]
fn durations() {
    let check = |text: &str, expected: &str| {
        let nanos = parse_duration(text);
        let answer =
            nanos.map_or_else(|error| error.to_string(), |nanos| format!("{nanos} {}", format_duration(nanos)));
        assert_eq!(answer, expected, "{text}");
    };
    check("0", "0 0s");
    check("1s", "1000000000 1s");
    check("1h30m0.5s", "5400500000000 1h30m0.5s");
    check("-1.5h", "-5400000000000 -1h30m0s");
    check(".5ms", "500000 500µs");
    check("3µs", "3000 3µs");
    check("3μs", "3000 3µs");
    check("1ns", "1 1ns");
    check("9223372036854775807ns", "9223372036854775807 2562047h47m16.854775807s");
    check("-9223372036854775808ns", "-9223372036854775808 -2562047h47m16.854775808s");
    check("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#);
    check("1.0000000001s", "1000000000 1s");
    check("100000h", "360000000000000000 100000h0m0s");
    check("x", r#"time: invalid duration "x""#);
    check("", r#"time: invalid duration """#);
    check("5", r#"time: missing unit in duration "5""#);
    check("-", r#"time: invalid duration "-""#);
    check("5d", r#"time: unknown unit "d" in duration "5d""#);
    check("1h-1m", r#"time: unknown unit "h-" in duration "1h-1m""#);
    check(".s", r#"time: invalid duration ".s""#);
    check("é", r#"time: invalid duration "\xc3\xa9""#);
    check("1 s", r#"time: unknown unit " s" in duration "1 s""#);
    check("+5m", "300000000000 5m0s");
    assert_eq!(round_duration(1_500_000_000, 1_000_000_000), 2_000_000_000);
    assert_eq!(round_duration(-1_500_000_000, 1_000_000_000), -2_000_000_000);
    assert_eq!(round_duration(i64::MAX, 1_000_000_000), i64::MAX);
    assert_eq!(round_duration(5, 0), 5);
    assert_eq!(truncate_duration(-1_900, 1_000), -1_000);
    assert_eq!(duration_seconds(1_500_000_001), 1.500_000_001);
}

#[test]
fn arithmetic() {
    let time = GoTime::from_unix(1_706_659_200, 5, zone("Europe/Warsaw"));
    let check = |time: GoTime, expected: &str| assert_eq!(time.format(RFC3339_NANO), expected);
    check(time.add_nanos(-6), "2024-01-31T00:59:59.999999999+01:00");
    check(time.add_date(0, 1, 0), "2024-03-02T01:00:00.000000005+01:00");
    check(time.add_date(0, -13, 40), "2023-02-09T01:00:00.000000005+01:00");
    check(time.truncate(3_600_000_000_000), "2024-01-31T01:00:00+01:00");
    check(time.round(10), "2024-01-31T01:00:00.00000001+01:00");
    check(GoTime::zero(), "0001-01-01T00:00:00Z");
    assert!(GoTime::zero().is_zero());
    assert_eq!(time.since(&GoTime::zero()), i64::MAX);
    assert_eq!(time.since(&time.add_nanos(7)), -7);
    assert_eq!((time.year_day(), time.weekday()), (31, 3));
    assert_eq!(time.go_string(), "time.Date(2024, time.January, 31, 1, 0, 0, 5, time.Location(\"Europe/Warsaw\"))");
    assert_eq!(GoTime::from_unix(i64::MAX, 0, Zone::Utc).date().year, 292_277_026_596);
    assert_eq!(Zone::load("Nope").expect_err("unknown").to_string(), "unknown time zone Nope");
    assert_eq!(Zone::load("../x").expect_err("no name").to_string(), "time: invalid location name");
}
