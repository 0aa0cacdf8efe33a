//! Times and durations as people write them.

use thermae_formats::time::{
    format_duration_us, format_timestamp_us, parse_duration_us, parse_timestamp_us,
};

const HOUR_US: i64 = 3_600_000_000;

#[test]
fn durations_read_in_every_unit_and_print_in_the_largest() {
    let cases = [
        ("0", 0, "0"),
        ("0s", 0, "0"),
        ("24h", 24 * HOUR_US, "1d"),
        ("7d", 168 * HOUR_US, "1w"),
        ("90s", 90_000_000, "90s"),
        ("1h30m", 90 * 60_000_000, "90m"),
        ("250ms", 250_000, "250ms"),
        ("1us", 1, "1us"),
        ("90d", 2_160 * HOUR_US, "90d"),
        ("106751991d", 106_751_991 * 24 * HOUR_US, "106751991d"),
    ];
    for (text, us, printed) in cases {
        assert_eq!(parse_duration_us(text), Ok(us), "{text}");
        assert_eq!(format_duration_us(us), printed);
        assert_eq!(parse_duration_us(printed), Ok(us));
    }
    for wrong in ["", "24", "-1h", "h", "1.5h", "1 h", "1y", "24H", "106751992d", "1hh", "9e9s"] {
        assert!(parse_duration_us(wrong).is_err(), "{wrong:?}");
    }
    assert!(parse_duration_us("24").unwrap_err().contains("90s, 24h or 7d"));
}

#[test]
fn times_read_in_every_form() {
    let five = 1_357_016_400_000_000;
    let cases = [
        ("2013-01-01T05:00:00Z", five),
        ("2013-01-01 05:00:00", five),
        ("2013-01-01t05:00:00z", five),
        ("2013-01-01T05:00", five),
        ("2013-01-01T00:00:00-05:00", five),
        ("2013-01-01T10:30:00+0530", five),
        ("2013-01-01T05:00:00.5Z", five + 500_000),
        ("2013-01-01T05:00:00.000001Z", five + 1),
        ("2013-01-01T05:00:00.000001000Z", five + 1),
        ("2013-01-01", five - 5 * HOUR_US),
        ("1357016400000000", five),
        ("-1", -1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2000-02-29", 951_782_400_000_000),
        ("0000-01-01", -62_167_219_200_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ];
    for (text, us) in cases {
        assert_eq!(parse_timestamp_us(text), Ok(us), "{text}");
    }
    let wrong = [
        "",
        "today",
        "2013-1-1",
        "2013-13-01",
        "2013-02-29",
        "1900-02-29",
        "2013-01-00",
        "2013-01-01T24:00:00",
        "2013-01-01T05:60:00",
        "2013-01-01T05:00:60",
        "2013-01-01T05:00:00.",
        "2013-01-01T05:00:00.0000001",
        "2013-01-01T05:00:00+24:00",
        "2013-01-01T05:00:00Zx",
        "2013-01-01T",
        "é013-01-01",
    ];
    for text in wrong {
        assert!(parse_timestamp_us(text).is_err(), "{text:?}");
    }
}

#[test]
fn printed_times_read_back_on_every_kind_of_day() {
    // Each day of 1880 to 2010, at changing times of day; leap years of each kind are among them.
    let mut us = parse_timestamp_us("1880-01-01").unwrap();
    for day in 0..47_500_i64 {
        let text = format_timestamp_us(us);
        assert_eq!(parse_timestamp_us(&text), Ok(us), "{text}");
        us += 24 * HOUR_US + (day % 7) * 1_000_003 - (day % 5) * 1_300_001;
    }
    assert_eq!(format_timestamp_us(-1), "1969-12-31T23:59:59.999999Z");
    assert_eq!(format_timestamp_us(1_357_016_400_000_000), "2013-01-01T05:00:00Z");
    for us in [i64::MIN, i64::MAX, 253_402_300_800_000_000, -62_167_219_200_000_001] {
        assert_eq!(format_timestamp_us(us), us.to_string());
        assert_eq!(parse_timestamp_us(&us.to_string()), Ok(us));
    }
}
