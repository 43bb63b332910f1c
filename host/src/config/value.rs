//! Turns single values into what they mean: durations, sizes, counts, addresses, choices. Says what would do.

use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use reqwest::Url;
use toml::de::DeValue;
use tracing_subscriber::EnvFilter;

use super::section::Refusal;
use crate::names::TenantId;

/// A text that is not empty.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Refusal> {
    match value.as_str() {
        Some("") => Err("must not be empty".into()),
        Some(text) => Ok(text.to_owned()),
        None => Err(expected("a string", value)),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Refusal> {
    value.as_bool().ok_or_else(|| expected("`true` or `false`", value))
}

/// A path; a relative one begins at `folder`.
pub(super) fn path(folder: &Path) -> impl FnOnce(&DeValue<'_>) -> Result<PathBuf, Refusal> + '_ {
    move |value| Ok(folder.join(text(value)?))
}

/// `127.0.0.1:8080`, `[::1]:0`.
pub(super) fn address(value: &DeValue<'_>) -> Result<SocketAddr, Refusal> {
    parse_address(&text(value)?)
}

/// As [`address`], from plain text.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse()
        .map_err(|_| format!("`{text}` is no address; an IP address and a port are needed, as in `127.0.0.1:8080`"))
}

/// A range of IP addresses, `10.0.0.0/8`, or one address.
pub(super) fn address_range(value: &DeValue<'_>) -> Result<IpNet, Refusal> {
    let text = text(value)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let range: IpNet = text.parse().map_err(|_| {
        format!("`{text}` is no range of addresses; an IP address or a range is needed, as in \"10.0.0.0/8\"")
    })?;
    // Which of the two was meant, the address or the range, is not for the host to guess.
    if range.addr() != range.network() {
        return Err(format!(
            "`{text}` is an address within a range; write \"{}\" or \"{}\"",
            range.trunc(),
            range.addr()
        ));
    }
    Ok(range)
}

/// A tenant's id.
pub(super) fn tenant(value: &DeValue<'_>) -> Result<TenantId, Refusal> {
    text(value)?.parse().map_err(|why: crate::names::TenantIdError| why.to_string())
}

/// Log directives.
pub(super) fn filter(value: &DeValue<'_>) -> Result<String, Refusal> {
    parse_filter(&text(value)?)
}

/// As [`filter`], from plain text.
pub(super) fn parse_filter(text: &str) -> Result<String, Refusal> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(format!("`{text}` is no log filter: {why}")),
    }
}

/// A URL from which something is fetched: https, or http to this machine.
pub(super) fn web_address(value: &DeValue<'_>) -> Result<String, Refusal> {
    let text = text(value)?;
    let url: Url = text.parse().map_err(|why| format!("`{text}` is no URL: {why}"))?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        _ if !url.username().is_empty() || url.password().is_some() => Err("must have no credentials in it".into()),
        "https" => Ok(text),
        "http" if is_here => Ok(text),
        "http" => Err("must be `https`: over http anybody on the way can exchange the keys".into()),
        other => Err(format!("must be `https`, found `{other}`")),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, Refusal> {
    move |value| {
        let list = || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        let given = value.as_str().ok_or_else(|| expected(&list(), value))?;
        let found = words.iter().find(|(word, _)| *word == given);
        found.map(|(_, meant)| *meant).ok_or_else(|| format!("must be {}, found \"{given}\"", list()))
    }
}

/// A whole number within bounds.
pub(super) fn count(least: usize, most: usize) -> impl Fn(&DeValue<'_>) -> Result<usize, Refusal> {
    move |value| {
        within(integer(value).ok_or_else(|| expected("a whole number", value))?, least, most, |n| n.to_string())
    }
}

/// A number of bytes within bounds: `65536`, `"64KiB"`, `"2 MiB"`.
pub(super) fn bytes(least: usize, most: usize) -> impl Fn(&DeValue<'_>) -> Result<usize, Refusal> {
    move |value| {
        let size = match value.as_str() {
            Some(text) => scaled(text, &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]),
            None => integer(value).map(|n| n as u64),
        };
        let size = size.ok_or_else(|| expected("a number of bytes, as in `65536` or \"2MiB\"", value))?;
        within(usize::try_from(size).unwrap_or(usize::MAX), least, most, |n| format!("{n} bytes"))
    }
}

/// A duration within bounds: `"50ms"`, `"30s"`, `"10m"`, `"1h"`; zero may go without a unit.
pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&DeValue<'_>) -> Result<Duration, Refusal> {
    move |value| {
        let millis = match value.as_str() {
            Some("0") => Some(0),
            Some(text) => scaled(text, &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]),
            None => None,
        };
        let wanted = "a duration, as in \"50ms\", \"30s\" or \"10m\"";
        within(Duration::from_millis(millis.ok_or_else(|| expected(wanted, value))?), least, most, shown)
    }
}

/// Zero is no number of nanoseconds to whoever wrote it.
fn shown(duration: Duration) -> String {
    if duration.is_zero() { "0s".to_owned() } else { format!("{duration:?}") }
}

fn within<T: PartialOrd + Copy, D: Display>(given: T, least: T, most: T, show: impl Fn(T) -> D) -> Result<T, Refusal> {
    if given < least || given > most {
        return Err(format!("must be {} to {}, found {}", show(least), show(most), show(given)));
    }
    Ok(given)
}

fn integer(value: &DeValue<'_>) -> Option<usize> {
    let integer = value.as_integer()?;
    usize::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// `NUMBER UNIT` with at most one space between; `None` where it is something else or does not fit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn expected(wanted: &str, found: &DeValue<'_>) -> Refusal {
    match found {
        DeValue::String(text) => format!("must be {wanted}, found \"{text}\""),
        DeValue::Integer(number) => format!("must be {wanted}, found {number}"),
        other => format!("must be {wanted}, found {}", other.type_str()),
    }
}
