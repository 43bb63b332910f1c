//! The stamp: a fixed-layout record in link section `.tenon_stamp` that says how a module was built.
//!
//! The host reads it from the file before any code of the module runs. Its layout never changes within a
//! major version: eight magic bytes, then nine texts, each a little-endian `u16` length and 254 bytes of
//! room. A longer text is cut at a character boundary.

/// The name of the section that holds the stamp.
pub const STAMP_SECTION: &str = ".tenon_stamp";
/// The name of the section that holds `module.toml`, whole.
pub const MANIFEST_SECTION: &str = ".tenon_manifest";
/// The first bytes of a stamp; the last one is the layout's own version.
pub const MAGIC: [u8; 8] = *b"TENONST\x01";
/// The room of one text in bytes, without its length.
pub const TEXT_BYTES: usize = 254;
/// How many texts a stamp has.
pub const TEXTS: usize = 9;
/// The size of a stamp in bytes.
pub const STAMP_BYTES: usize = MAGIC.len() + TEXTS * (2 + TEXT_BYTES);

/// A stamp as it lies in the file.
pub type Stamp = [u8; STAMP_BYTES];

/// The fields of a stamp, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StampFields {
    /// The version of module-api that the module was built against, as semver text.
    pub api_version: String,
    /// What `rustc --version` printed.
    pub rustc: String,
    /// The target triple, such as `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// `unwind` or `abort`.
    pub panic: String,
    /// `CARGO_PKG_NAME` of the module.
    pub name: String,
    /// `CARGO_PKG_VERSION` of the module.
    pub version: String,
    /// `CARGO_PKG_DESCRIPTION`, may be empty.
    pub description: String,
    /// `CARGO_PKG_AUTHORS`, separated by `:`, may be empty.
    pub authors: String,
    /// `CARGO_PKG_LICENSE`, may be empty.
    pub license: String,
}

/// Writes a stamp. The texts are in the order of [`StampFields`].
///
/// Source: this file's header.
pub const fn stamp(texts: [&str; TEXTS]) -> Stamp {
    let mut out = [0_u8; STAMP_BYTES];
    let mut at = 0;
    while at < MAGIC.len() {
        out[at] = MAGIC[at];
        at += 1;
    }
    let mut which = 0;
    while which < TEXTS {
        let bytes = texts[which].as_bytes();
        let mut len = if bytes.len() < TEXT_BYTES { bytes.len() } else { TEXT_BYTES };
        // Steps back over continuation bytes, so that what is kept is UTF-8.
        while len < bytes.len() && len > 0 && bytes[len] & 0b1100_0000 == 0b1000_0000 {
            len -= 1;
        }
        out[at] = (len & 0xff) as u8;
        out[at + 1] = (len >> 8) as u8;
        let mut i = 0;
        while i < len {
            out[at + 2 + i] = bytes[i];
            i += 1;
        }
        at += 2 + TEXT_BYTES;
        which += 1;
    }
    out
}

/// What this build of module-api puts into the first four texts.
pub const API_TEXTS: [&str; 3] = [env!("CARGO_PKG_VERSION"), env!("TENON_RUSTC"), env!("TENON_TARGET")];

/// Reads a stamp from the bytes of its section.
///
/// # Errors
///
/// A sentence fragment that says what is wrong: too short, wrong magic, a length over the room, not UTF-8.
pub fn read_stamp(bytes: &[u8]) -> Result<StampFields, String> {
    if bytes.len() != STAMP_BYTES {
        return Err(format!("the stamp has {} bytes, expected {STAMP_BYTES}", bytes.len()));
    }
    if bytes[..7] != MAGIC[..7] {
        return Err("the stamp does not begin with Tenon's magic bytes".to_owned());
    }
    if bytes[7] != MAGIC[7] {
        return Err(format!("the stamp has layout version {}, this host reads {}", bytes[7], MAGIC[7]));
    }
    let mut texts = bytes[MAGIC.len()..].chunks_exact(2 + TEXT_BYTES).map(|chunk| {
        let len = usize::from(u16::from_le_bytes([chunk[0], chunk[1]]));
        let text = chunk.get(2..2 + len).ok_or_else(|| format!("a text of the stamp claims {len} bytes"))?;
        std::str::from_utf8(text).map(str::to_owned).map_err(|_| "a text of the stamp is not UTF-8".to_owned())
    });
    let mut next = || texts.next().unwrap_or_else(|| Err("the stamp ends early".to_owned()));
    Ok(StampFields {
        api_version: next()?,
        rustc: next()?,
        target: next()?,
        panic: next()?,
        name: next()?,
        version: next()?,
        description: next()?,
        authors: next()?,
        license: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_long_texts_are_cut_at_a_character() {
        let long = "ä".repeat(200);
        let written = stamp(["1.0.0", "rustc 1", "x86_64", "unwind", "tasks", "1.2.0", &long, "A:B", ""]);
        let read = read_stamp(&written).unwrap();
        assert_eq!(read.api_version, "1.0.0");
        assert_eq!(read.description, "ä".repeat(127));
        assert_eq!(read.authors, "A:B");
        assert_eq!(read.license, "");
    }

    #[test]
    fn foreign_bytes_are_refused_with_the_reason() {
        assert!(read_stamp(b"short").unwrap_err().contains("5 bytes"));
        let mut other = stamp([""; TEXTS]);
        other[0] = b'X';
        assert!(read_stamp(&other).unwrap_err().contains("magic"));
        let mut later = stamp([""; TEXTS]);
        later[7] = 9;
        assert!(read_stamp(&later).unwrap_err().contains("layout version 9"));
        let mut overlong = stamp([""; TEXTS]);
        overlong[8] = 0xff;
        overlong[9] = 0xff;
        assert!(read_stamp(&overlong).unwrap_err().contains("65535"));
    }
}
