//! Text as people write it: folding for comparison, addresses, and times as text.

use jiff::Timestamp;

/// Source: RFC 5321, section 4.5.3.1, less the angle brackets of a path.
const MAX_EMAIL_BYTES: usize = 254;

/// Folds text for comparison: words separated by one space, each character in lower case. Character by character, so
/// that the fold of a prefix is a prefix of the fold.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

/// The last word of folded text.
pub(crate) fn last_word(folded: &str) -> &str {
    folded.rsplit_once(' ').map_or(folded, |(_, last)| last)
}

/// Whether text can be an e-mail address; only a sent mail proves one.
pub(crate) fn can_be_an_address(text: &str) -> bool {
    let is_plain = text.len() <= MAX_EMAIL_BYTES && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let parts = text.split_once('@').filter(|(local, domain)| !local.is_empty() && !domain.contains('@'));
    let has_domain = parts.is_some_and(|(_, domain)| {
        domain.eq_ignore_ascii_case("localhost")
            || domain.contains('.') && domain.split('.').all(|label| !label.is_empty())
    });
    is_plain && has_domain
}

/// Milliseconds since the Unix epoch as RFC 3339 in UTC, such as `2026-11-22T21:52:00.000Z`.
pub(crate) fn rfc3339(millis: i64) -> String {
    // A clock so wrong that it has no date is shown as the number it is.
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_ignores_case_and_spacing() {
        assert_eq!(fold("  Ann\t MARIA  Ågren "), "ann maria ågren");
        assert_eq!(last_word(&fold("Ann de la Cruz")), "cruz");
        assert_eq!(last_word(&fold("Cher")), "cher");
        assert!(fold("ΟΔΟΣΣ").starts_with(&fold("ΟΔΟΣ")));
    }

    #[test]
    fn addresses_are_refused_only_when_they_cannot_be_one() {
        for good in ["ann@example.com", "a+b@x.y", "root@LocalHost", "jürgen@bücher.example"] {
            assert!(can_be_an_address(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(243));
        for bad in ["", "ann", "ann@", "@x.y", "a@b@x.y", "ann@example", "ann@.com", "a n@x.y", "a\u{0}@x.y", &long] {
            assert!(!can_be_an_address(bad), "{bad}");
        }
    }

    #[test]
    fn times_have_milliseconds_and_a_z() {
        assert_eq!(rfc3339(1_795_384_320_007), "2026-11-22T21:52:00.007Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }
}
