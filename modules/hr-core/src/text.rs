//! Text as people write it: trimming, folding for comparison, and times as text.

use jiff::Timestamp;

/// Folds text for comparison: words separated by one space, each character in lower case.
///
/// Character by character and not by `str::to_lowercase`, which looks at a letter's neighbours (the Greek
/// final sigma): the fold of a prefix must be a prefix of the fold.
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

/// The last word of folded text; `None` where there is only one.
pub(crate) fn last_word(folded: &str) -> Option<&str> {
    folded.rsplit_once(' ').map(|(_, last)| last)
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
        assert_eq!(fold("  "), "");
    }

    #[test]
    fn the_fold_of_a_prefix_is_a_prefix_of_the_fold() {
        for (prefix, whole) in [("ΟΔΟΣ", "ΟΔΟΣΣ"), ("İ", "İpek"), ("ANN", "Ann Lee")] {
            assert!(fold(whole).starts_with(&fold(prefix)), "{prefix} of {whole}");
        }
    }

    #[test]
    fn only_a_name_of_several_words_has_a_family_name() {
        assert_eq!(last_word(&fold("Ann de la Cruz")), Some("cruz"));
        assert_eq!(last_word(&fold("Cher")), None);
    }

    #[test]
    fn times_have_milliseconds_and_a_z() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_384_320_007), "2026-11-22T21:52:00.007Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }
}
