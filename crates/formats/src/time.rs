//! Times and durations as people write them; both are microseconds in an `i64` everywhere else.

/// The created time of a row that has none; loses every tie.
pub const NO_TIME: i64 = i64::MIN;

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

/// Units of a duration, largest first.
const UNITS: [(&str, i64); 7] = [
    ("w", 7 * DAY_US),
    ("d", DAY_US),
    ("h", 3_600 * SECOND_US),
    ("m", 60 * SECOND_US),
    ("s", SECOND_US),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a duration such as `24h`, `7d`, `90s`, `250ms`, `1h30m` or `0`, in microseconds.
///
/// Units are `w`, `d`, `h`, `m`, `s`, `ms` and `us`. The error is a sentence.
pub fn parse_duration_us(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(0);
    }
    let fault = || {
        let shown: String = text.chars().take(80).collect();
        format!(
            "{shown:?} is not a duration: write a number and a unit, as in 90s, 24h or 7d, or 0"
        )
    };
    let mut rest = text;
    let mut total_us: i64 = 0;
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at(letters);
        let number: i64 = number.parse().map_err(|_| fault())?;
        let unit_us = UNITS.iter().find(|u| u.0 == unit).map(|u| u.1).ok_or_else(fault)?;
        total_us = number
            .checked_mul(unit_us)
            .and_then(|part| total_us.checked_add(part))
            .ok_or_else(fault)?;
        rest = tail;
    }
    Ok(total_us)
}

/// Writes a duration in the largest unit that divides it: `24h` reads back as `1d`.
pub fn format_duration_us(duration_us: i64) -> String {
    if duration_us == 0 {
        return "0".to_owned();
    }
    UNITS.iter().find(|(_, unit_us)| duration_us % unit_us == 0).map_or_else(
        || format!("{duration_us}us"),
        |(unit, us)| format!("{}{unit}", duration_us / us),
    )
}

/// Reads a time in microseconds, UTC: RFC 3339 (`2013-01-01T05:00:00Z`; a space may stand for `T`, a
/// time without zone is UTC, a date alone is its midnight), or a plain count of microseconds.
///
/// Digits finer than a microsecond are refused unless they are zero. The error is a sentence.
pub fn parse_timestamp_us(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if let Ok(us) = text.parse::<i64>() {
        return Ok(us);
    }
    parse_civil(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        format!(
            "{shown:?} is not a time: write 2013-01-01T05:00:00Z (with up to 6 decimals), 2013-01-01, \
             or microseconds since 1970"
        )
    })
}

/// Writes a time as RFC 3339 in UTC, with six decimals only where they are not zero; a time outside the
/// years 0000 to 9999 (which RFC 3339 cannot name) as its count of microseconds. Reads back exactly.
pub fn format_timestamp_us(time_us: i64) -> String {
    let days = time_us.div_euclid(DAY_US);
    let in_day_us = time_us.rem_euclid(DAY_US);
    let (year, month, day) = civil_from_days(days);
    if !(0..=9999).contains(&year) {
        return time_us.to_string();
    }
    let seconds = in_day_us / SECOND_US;
    let fraction_us = in_day_us % SECOND_US;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let head = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction_us == 0 { format!("{head}Z") } else { format!("{head}.{fraction_us:06}Z") }
}

/// Takes exactly `count` digits from the front of `text`.
fn digits(text: &mut &[u8], count: usize) -> Option<i64> {
    let (head, tail) = text.split_at_checked(count)?;
    *text = tail;
    head.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

/// Takes one byte of `any` from the front of `text`.
fn one_of(text: &mut &[u8], any: &[u8]) -> Option<u8> {
    let (first, tail) = text.split_first()?;
    any.contains(first).then(|| {
        *text = tail;
        *first
    })
}

fn parse_civil(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    one_of(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    one_of(&mut rest, b"-")?;
    let day = digits(&mut rest, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let midnight_us = days_from_civil(year, month, day).checked_mul(DAY_US)?;
    if rest.is_empty() {
        return Some(midnight_us);
    }
    one_of(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2)?;
    one_of(&mut rest, b":")?;
    let minute = digits(&mut rest, 2)?;
    let second = match one_of(&mut rest, b":") {
        Some(_) => digits(&mut rest, 2)?,
        None => 0,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction_us = if one_of(&mut rest, b".").is_some() { fraction(&mut rest)? } else { 0 };
    let offset_us = zone(&mut rest)?;
    let in_day_us = ((hour * 60 + minute) * 60 + second) * SECOND_US + fraction_us;
    rest.is_empty().then_some(midnight_us + in_day_us - offset_us)
}

/// Decimals of a second, in microseconds; the seventh and later must be zero.
fn fraction(text: &mut &[u8]) -> Option<i64> {
    let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 || count > 18 {
        return None;
    }
    let kept = count.min(6);
    let mut us = digits(text, kept)?;
    for _ in kept..6 {
        us *= 10;
    }
    let finer = digits(text, count - kept)?;
    (finer == 0).then_some(us)
}

/// The zone's offset in microseconds: nothing or `Z` is 0, else `+HH:MM` or `+HHMM`.
fn zone(text: &mut &[u8]) -> Option<i64> {
    if text.is_empty() || one_of(text, b"Zz").is_some() {
        return Some(0);
    }
    let sign = if one_of(text, b"+-")? == b'-' { -1 } else { 1 };
    let hours = digits(text, 2)?;
    one_of(text, b":");
    let minutes = digits(text, 2)?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60 * SECOND_US)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar. Years begin in March here, so
/// that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date (year, month, day) that many days after 1970-01-01: the inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}
