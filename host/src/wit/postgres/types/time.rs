//! Dates and times.

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};

use super::Fallible;

pub(super) fn from_date(date: NaiveDate) -> Fallible<(i32, u8, u8)> {
    Ok((date.year(), date.month() as u8, date.day() as u8))
}

pub(super) fn from_datetime(datetime: NaiveDateTime) -> Fallible<(i32, u8, u8, u8, u8, u8, u32)> {
    let (year, month, day) = from_date(datetime.date())?;
    let (hour, minute, second, nano) = from_time(datetime.time());
    Ok((year, month, day, hour, minute, second, nano))
}

pub(super) fn from_time(time: NaiveTime) -> (u8, u8, u8, u32) {
    (
        time.hour() as u8,
        time.minute() as u8,
        time.second() as u8,
        time.nanosecond(),
    )
}

pub(super) fn to_date((year, month, day): (i32, u8, u8)) -> Fallible<NaiveDate> {
    let date = NaiveDate::from_ymd_opt(year, month.into(), day.into());
    date.ok_or_else(|| format!("there is no date {year}-{month:02}-{day:02}").into())
}

pub(super) fn to_time(hour: u8, minute: u8, second: u8, nano: u32) -> Fallible<NaiveTime> {
    let time = NaiveTime::from_hms_nano_opt(hour.into(), minute.into(), second.into(), nano);
    time.ok_or_else(|| format!("there is no time {hour:02}:{minute:02}:{second:02} and {nano} ns").into())
}
