//! Changes one flag in the text of a set of definitions, and leaves everything else of the text as it is: order, spaces,
//! comments of sorts, and what this host does not know.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Definitions, problem::DefinitionErrors};

/// The members of an object in their order, as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

impl<'a> Members<'a> {
    /// Of members with one name the last one counts, as everywhere.
    fn last(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| *value)
    }
}

/// The flags of a set, in one of the two ways in which they may be written.
enum Flags<'a> {
    ByKey(Vec<(String, &'a RawValue)>),
    /// Each has its key inside.
    Listed(Vec<(String, &'a RawValue)>),
}

/// A set that is to be changed.
struct Set<'a> {
    text: &'a str,
    /// Where all flags stand in it.
    place: Range<usize>,
    flags: Flags<'a>,
}

impl<'a> Set<'a> {
    fn read(text: &'a str) -> Result<Self, DefinitionErrors> {
        // What can't be taken apart is no set; then that is told, with all that is wrong.
        let unfit = || match Definitions::parse(text.as_bytes()) {
            Err(errors) => errors,
            Ok(_) => DefinitionErrors::only("the definitions are no object of flags"),
        };
        let top: Members<'a> = serde_json::from_str(text).map_err(|_| unfit())?;
        let flags = top.last("flags").ok_or_else(unfit)?;
        let place = place(text, flags.get());
        let flags = if flags.get().starts_with('[') {
            let listed: Vec<&RawValue> = serde_json::from_str(flags.get()).map_err(|_| unfit())?;
            let mut with_keys = Vec::with_capacity(listed.len());
            for flag in listed {
                let members: Members<'_> = serde_json::from_str(flag.get()).map_err(|_| unfit())?;
                let key = members.last("key").and_then(|key| serde_json::from_str(key.get()).ok());
                with_keys.push((key.ok_or_else(unfit)?, flag));
            }
            Flags::Listed(with_keys)
        } else {
            let Members(by_key) = serde_json::from_str(flags.get()).map_err(|_| unfit())?;
            Flags::ByKey(by_key)
        };
        Ok(Self { text, place, flags })
    }

    fn members(&self) -> &[(String, &'a RawValue)] {
        match &self.flags {
            Flags::ByKey(members) | Flags::Listed(members) => members,
        }
    }

    fn find(&self, key: &str) -> Option<&'a RawValue> {
        self.members().iter().rev().find(|(found, _)| found == key).map(|(_, flag)| *flag)
    }

    /// The text with these flags in the place of those that are there.
    fn with_flags(&self, flags: &[(&str, &str)]) -> String {
        let (open, close) = match &self.flags {
            Flags::ByKey(_) => ('{', '}'),
            Flags::Listed(_) => ('[', ']'),
        };
        let lines: Vec<String> = flags
            .iter()
            .map(|(key, flag)| match &self.flags {
                Flags::ByKey(_) => format!("\n    {}: {flag}", serde_json::Value::from(*key)),
                Flags::Listed(_) => format!("\n    {flag}"),
            })
            .collect();
        let end = if lines.is_empty() { "" } else { "\n  " };
        splice(self.text, self.place.clone(), &format!("{open}{}{end}{close}", lines.join(",")))
    }
}

/// Where a part stands that was borrowed from the text.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

fn splice(text: &str, place: Range<usize>, part: &str) -> String {
    [&text[..place.start], part, &text[place.end..]].concat()
}

/// A flag as it is written; `None` where the set does not have it.
///
/// # Errors
///
/// All that is wrong with a text that is no set.
pub fn flag_in(set: &str, key: &str) -> Result<Option<String>, DefinitionErrors> {
    Ok(Set::read(set)?.find(key).map(|flag| flag.get().to_owned()))
}

/// The set with this flag, in the place of one with its key or at the end. Whether it is a good one is not checked.
///
/// # Errors
///
/// As [`flag_in`], and that `flag` is no object.
pub fn with_flag(set: &str, key: &str, flag: &str) -> Result<String, DefinitionErrors> {
    let unfit = |why: &str| DefinitionErrors::only(format!("flag `{key}` {why}"));
    let flag = flag.trim();
    let members: Members<'_> = serde_json::from_str(flag).map_err(|_| unfit("is no object"))?;
    let set = Set::read(set)?;
    let mut flag = flag.to_owned();
    let inside = members.last("key").map(|key| serde_json::from_str::<String>(key.get()).unwrap_or_default());
    match (&set.flags, inside) {
        (_, Some(other)) if other != key => return Err(unfit("has another key inside")),
        (Flags::Listed(_), None) => {
            let comma = if members.0.is_empty() { "" } else { ", " };
            flag.insert_str(1, &format!("\"key\": {}{comma}", serde_json::Value::from(key)));
        }
        _ => {}
    }
    if let Some(before) = set.find(key) {
        return Ok(splice(set.text, place(set.text, before.get()), &flag));
    }
    let kept = set.members().iter().map(|(key, flag)| (key.as_str(), flag.get()));
    let flags: Vec<(&str, &str)> = kept.chain([(key, flag.as_str())]).collect();
    Ok(set.with_flags(&flags))
}

/// The set without this flag; `None` where it does not have it.
///
/// # Errors
///
/// As [`flag_in`].
pub fn without_flag(set: &str, key: &str) -> Result<Option<String>, DefinitionErrors> {
    let set = Set::read(set)?;
    if set.find(key).is_none() {
        return Ok(None);
    }
    let kept = set.members().iter().filter(|(found, _)| found != key);
    let flags: Vec<(&str, &str)> = kept.map(|(key, flag)| (key.as_str(), flag.get())).collect();
    Ok(Some(set.with_flags(&flags)))
}

/// The set with this flag's `state`, a text of its own, and else as it is; `None` where it does not have the flag.
///
/// # Errors
///
/// As [`flag_in`].
pub fn with_state(set: &str, key: &str, state: &str) -> Result<Option<String>, DefinitionErrors> {
    let unfit = || DefinitionErrors::only(format!("flag `{key}` is no object with a state"));
    let Some(flag) = Set::read(set)?.find(key) else { return Ok(None) };
    let members: Members<'_> = serde_json::from_str(flag.get()).map_err(|_| unfit())?;
    let before = members.last("state").ok_or_else(unfit)?;
    Ok(Some(splice(set, place(set, before.get()), &serde_json::Value::from(state).to_string())))
}

#[cfg(test)]
mod tests {
    use super::{flag_in, with_flag, with_state, without_flag};

    const SET: &str = "{ \"flags\" :{\n\"z\": {\"state\" : \"ENABLED\", \"variants\":{\"b\":1,\"a\":2.50}} , \"a\": { }\n},\
                       \n \"$comment\": \"of \\u0061\"}\n";

    #[test]
    fn everything_else_of_a_set_stays_as_it_is() {
        let disabled = with_state(SET, "z", "DISABLED").unwrap().unwrap();
        assert_eq!(disabled, SET.replace("ENABLED", "DISABLED"));
        assert_eq!(with_flag(SET, "a", " {\"x\":1}\n").unwrap(), SET.replace("{ }", "{\"x\":1}"));
        assert_eq!(flag_in(SET, "a").unwrap().as_deref(), Some("{ }"));
        let more = with_flag(SET, "m\"", "{}").unwrap();
        let z = "\"z\": {\"state\" : \"ENABLED\", \"variants\":{\"b\":1,\"a\":2.50}}";
        assert_eq!(
            more,
            format!(
                "{{ \"flags\" :{{\n    {z},\n    \"a\": {{ }},\n    \"m\\\"\": {{}}\n  }},\n \"$comment\": \"of \\u0061\"}}\n"
            )
        );
        let less = without_flag(SET, "a").unwrap().unwrap();
        assert_eq!(less, format!("{{ \"flags\" :{{\n    {z}\n  }},\n \"$comment\": \"of \\u0061\"}}\n"));
        let none = without_flag(&less, "z").unwrap().unwrap();
        assert_eq!(none, "{ \"flags\" :{},\n \"$comment\": \"of \\u0061\"}\n");
        for gone in [flag_in(SET, "b"), without_flag(SET, "b"), with_state(SET, "b", "ENABLED")] {
            assert_eq!(gone, Ok(None));
        }
    }

    #[test]
    fn a_list_of_flags_stays_a_list() {
        let set = r#"{"flags": [ {"key": "b", "state": "ENABLED"}, {"state": "ENABLED", "key": "a"} ]}"#;
        let more = with_flag(set, "c", r#"{"state": "DISABLED"}"#).unwrap();
        assert!(more.ends_with("    {\"key\": \"c\", \"state\": \"DISABLED\"}\n  ]}"), "{more}");
        assert_eq!(
            with_flag(&more, "c", r#"{"key":"c"}"#).unwrap(),
            more.replace(r#"{"key": "c", "state": "DISABLED"}"#, r#"{"key":"c"}"#)
        );
        assert_eq!(flag_in(&without_flag(&more, "b").unwrap().unwrap(), "b").unwrap(), None);
        assert!(
            with_state(set, "a", "DISABLED").unwrap().unwrap().ends_with(r#"{"state": "DISABLED", "key": "a"} ]}"#)
        );
        assert!(with_flag(set, "c", r#"{"key": "d"}"#).unwrap_err().to_string().contains("another key"));
    }

    #[test]
    fn what_is_no_set_is_refused_with_its_problems() {
        for (text, why) in [
            ("", "no JSON"),
            ("[]", "must be an object with `flags`"),
            ("{}", "`flags` must be an object"),
            (r#"{"flags": 1}"#, "`flags` must be an object"),
            (r#"{"flags": [{}]}"#, "`key` must be"),
        ] {
            let refused = with_flag(text, "a", "{}").unwrap_err().to_string();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        assert!(with_flag(SET, "a", "[]").unwrap_err().to_string().contains("is no object"));
        assert!(with_state(SET, "a", "ENABLED").unwrap_err().to_string().contains("with a state"));
    }
}
