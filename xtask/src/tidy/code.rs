//! What the compiler sees of a Rust source: the text with comments and the insides of literals blanked out, byte for
//! byte, so that places and lines stay the same. A small lexer, not a parser.

/// A Rust source without comments and literals.
pub(super) struct Code {
    blank: String,
    literals: Vec<Literal>,
}

/// A string literal.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// The byte at which it begins, its quote included.
    pub(super) at: usize,
    /// What is between the quotes, escapes as they are written.
    pub(super) text: String,
}

impl Code {
    /// Blanks out a source.
    pub(super) fn of(text: &str) -> Self {
        Lexer { bytes: text.as_bytes(), at: 0, blank: text.as_bytes().to_vec(), literals: Vec::new() }.run(text)
    }

    /// The source; comments and the insides of literals are spaces, line ends stay.
    pub(super) fn text(&self) -> &str {
        &self.blank
    }

    /// The string literals in their order.
    pub(super) fn literals(&self) -> &[Literal] {
        &self.literals
    }

    /// The line, from 1, in which a byte lies.
    pub(super) fn line_of(&self, at: usize) -> usize {
        1 + self.blank.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Where a word stands by itself, not as a part of a longer name.
    pub(super) fn places_of_word(&self, word: &str) -> Vec<usize> {
        places_of_word(&self.blank, word)
    }

    /// Attributes, from `#` to the bracket that closes it.
    pub(super) fn attributes(&self) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        for (at, _) in self.blank.match_indices('#') {
            let rest = self.blank[at + 1..].trim_start_matches('!');
            if !rest.starts_with('[') {
                continue;
            }
            let open = self.blank.len() - rest.len();
            let mut depth = 0_usize;
            for (offset, byte) in rest.bytes().enumerate() {
                match byte {
                    b'[' => depth += 1,
                    b']' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    found.push((at, &self.blank[at..=open + offset]));
                    break;
                }
            }
        }
        found
    }
}

/// Where a word stands by itself in a text.
pub(super) fn places_of_word(text: &str, word: &str) -> Vec<usize> {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| !text[..*at].ends_with(part_of_name) && !text[at + word.len()..].starts_with(part_of_name))
        .collect()
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    blank: Vec<u8>,
    literals: Vec<Literal>,
}

impl Lexer<'_> {
    fn run(mut self, text: &str) -> Code {
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'/' if self.looking_at(b"//") => self.line_comment(),
                b'/' if self.looking_at(b"/*") => self.block_comment(),
                b'"' => self.string(text),
                b'r' if !self.inside_a_name() && self.raw_hashes().is_some() => self.raw_string(text),
                b'\'' => self.character_or_lifetime(),
                _ => self.at += 1,
            }
        }
        // Only whole characters were replaced, each byte by a space.
        let blank = String::from_utf8_lossy(&self.blank).into_owned();
        Code { blank, literals: self.literals }
    }

    fn looking_at(&self, what: &[u8]) -> bool {
        self.bytes[self.at..].starts_with(what)
    }

    /// True where the byte before is part of a name; `b` and `c` before a raw string are not.
    fn inside_a_name(&self) -> bool {
        let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let before = |back: usize| self.at.checked_sub(back).map(|at| self.bytes[at]);
        match before(1) {
            Some(b'b' | b'c') => before(2).is_some_and(name),
            Some(byte) => name(byte),
            None => false,
        }
    }

    fn clear(&mut self, from: usize, to: usize) {
        for byte in &mut self.blank[from..to.min(self.bytes.len())] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }

    fn line_comment(&mut self) {
        let from = self.at;
        while self.at < self.bytes.len() && self.bytes[self.at] != b'\n' {
            self.at += 1;
        }
        self.clear(from, self.at);
    }

    fn block_comment(&mut self) {
        let from = self.at;
        let mut depth = 0_usize;
        while self.at < self.bytes.len() {
            if self.looking_at(b"/*") {
                depth += 1;
                self.at += 2;
            } else if self.looking_at(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    break;
                }
            } else {
                self.at += 1;
            }
        }
        self.clear(from, self.at);
    }

    fn string(&mut self, text: &str) {
        let from = self.at;
        self.at += 1;
        while self.at < self.bytes.len() && self.bytes[self.at] != b'"' {
            self.at += if self.bytes[self.at] == b'\\' { 2 } else { 1 };
        }
        self.literal(text, from, from + 1, self.at);
        self.at += 1;
    }

    /// The number of `#` of a raw string that begins here; `None` where none does.
    fn raw_hashes(&self) -> Option<usize> {
        let rest = &self.bytes[self.at + 1..];
        let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
        (rest.get(hashes) == Some(&b'"')).then_some(hashes)
    }

    fn raw_string(&mut self, text: &str) {
        let hashes = self.raw_hashes().unwrap_or_default();
        let from = self.at;
        let inside = from + hashes + 2;
        let end = format!("\"{}", "#".repeat(hashes));
        let to = text[inside..].find(&end).map_or(self.bytes.len(), |length| inside + length);
        self.literal(text, from, inside, to);
        self.at = to + end.len();
    }

    fn literal(&mut self, text: &str, at: usize, from: usize, to: usize) {
        let to = to.min(self.bytes.len());
        self.literals.push(Literal { at, text: text.get(from..to).unwrap_or_default().to_owned() });
        self.clear(from, to);
    }

    /// `'x'`, `'\n'` and `'é'` are characters; `'name` without a closing quote is a lifetime.
    fn character_or_lifetime(&mut self) {
        let from = self.at + 1;
        let length = match self.bytes.get(from) {
            Some(b'\\') => {
                let rest = self.bytes.get(from + 2..).unwrap_or_default();
                rest.iter().position(|byte| *byte == b'\'').map(|length| length + 2)
            }
            Some(first) => {
                let length = if *first < 0x80 { 1 } else { first.leading_ones() as usize };
                (self.bytes.get(from + length) == Some(&b'\'')).then_some(length)
            }
            None => None,
        };
        match length {
            Some(length) => {
                self.clear(from, from + length);
                self.at = from + length + 1;
            }
            None => self.at = from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_lines_stay() {
        let source = "a /* b /* c */ d */ e // f\n\"g \\\" h\" 'i' '\\'' 'é' &'life x r#\"j\" k\"# br\"l\" for\"m\"\n";
        let code = Code::of(source);
        assert_eq!(code.text().len(), source.len());
        let kept: String = code.text().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(kept, "a e \" \" ' ' ' ' ' ' &'life x r#\" \"# br\" \" for\" \"");
        let literals: Vec<&str> = code.literals().iter().map(|literal| literal.text.as_str()).collect();
        assert_eq!(literals, [r#"g \" h"#, r#"j" k"#, "l", "m"]);
        assert_eq!(code.line_of(code.literals()[0].at), 2);
    }

    #[test]
    fn words_are_whole() {
        let code = Code::of("unsafe_code unsafe { } not_unsafe // unsafe\n");
        assert_eq!(code.places_of_word("unsafe"), [12]);
    }

    #[test]
    fn attributes_are_found_with_their_brackets() {
        let code = Code::of("#![allow(x)]\n#[cfg(a[0])] fn f() { 1 }\nlet a = b # c;");
        let found: Vec<&str> = code.attributes().into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, ["#![allow(x)]", "#[cfg(a[0])]"]);
    }

    #[test]
    fn a_source_that_ends_early_is_no_reason_to_stop() {
        for source in ["\"abc", "r#\"abc", "/* abc", "'", "'\\", "r#", "\"\\"] {
            Code::of(source);
        }
    }
}
