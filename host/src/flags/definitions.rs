//! Flags as operators define them for all tenants, in flagd's format, compiled; and what one comes to.
//!
//! The order of resolution is flagd's: a disabled flag has no value; one without targeting has its default variant; else
//! the rule names a variant, or nothing, which is the default variant again. A flag without a default variant leaves the
//! value to whoever asks.

use std::{collections::HashMap, fmt};

use serde_json::{Map, Value};

use super::{
    assign::{FlagError, type_of},
    context::EvaluationContext,
    name::FlagName,
    problem::DefinitionErrors,
    reading,
    rule::{Rule, RuleError},
};

/// All definitions of one file: immutable, replaced as a whole.
#[derive(Default)]
pub struct Definitions {
    /// Sorted by key, each once.
    pub(super) flags: Box<[Definition]>,
    /// Where in it each key is: a search among hundreds would meet a dozen of them, each somewhere else in memory.
    places: HashMap<Box<str>, usize>,
    pub(super) metadata: Map<String, Value>,
    pub(super) revision: String,
}

/// One flag.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) key: Box<str>,
    pub(super) is_enabled: bool,
    /// Sorted by name, each once; all values of one type.
    pub(super) variants: Box<[(Box<str>, Value)]>,
    /// Among the variants.
    pub(super) default: Option<usize>,
    /// The rule and its number among those of all flags.
    pub(super) rule: Option<(usize, Rule)>,
    /// The set's, and the flag's own over it.
    pub(super) metadata: Map<String, Value>,
}

/// Why a flag has the value that it has. The names are OpenFeature's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is always so: no rule was asked.
    Static,
    /// A rule was asked and had nothing to say, or there is only what modules declare.
    Default,
    /// A rule named it.
    TargetingMatch,
    /// The flag is switched off.
    Disabled,
    /// The rule failed: whoever asks goes by its own default.
    Error,
}

impl Reason {
    /// As OpenFeature writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Default => "DEFAULT",
            Self::TargetingMatch => "TARGETING_MATCH",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
        }
    }
}

/// What a definition comes to, without its text: small, so that it can be kept for each tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Among the flag's variants.
    pub(super) variant: Option<usize>,
    pub(super) reason: Reason,
}

/// Why an evaluation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The rule can't be evaluated with this context.
    #[error("the rule of `{flag}` can't be evaluated: {why}")]
    Rule {
        /// The flag.
        flag: String,
        /// What the engine says.
        why: String,
    },
    /// The rule names a variant that there is not.
    #[error("the rule of `{flag}` names `{named}`, which is none of its variants; there are: {variants}")]
    NoVariant {
        /// The flag.
        flag: String,
        /// What it names.
        named: String,
        /// The names that there are, or the first of them.
        variants: String,
    },
}

/// A definition's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation<'a> {
    /// Missing where whoever asks has to go by its own default.
    pub value: Option<&'a Value>,
    /// The name of the value.
    pub variant: Option<&'a str>,
    /// Why.
    pub reason: Reason,
    /// Of the set and the flag.
    pub metadata: &'a Map<String, Value>,
    /// With [`Reason::Error`].
    pub error: Option<EvaluationError>,
}

static FALSE: Value = Value::Bool(false);
pub(super) static NULL: Value = Value::Null;

impl Definitions {
    /// Of flags that are sorted by key, each once.
    pub(super) fn new(flags: Box<[Definition]>, metadata: Map<String, Value>, revision: String) -> Self {
        let places = flags.iter().enumerate().map(|(place, flag)| (flag.key.clone(), place)).collect();
        Self { flags, places, metadata, revision }
    }

    /// Reads and compiles a file of definitions: flagd's JSON, at most [`MAX_FILE_BYTES`](super::MAX_FILE_BYTES).
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each with its place.
    pub fn parse(content: &[u8]) -> Result<Self, DefinitionErrors> {
        reading::read(content)
    }

    /// How many flags there are.
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    /// Another one for each content; empty where there was none.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// What the file says of itself.
    pub fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    /// Whether any rule reads the time.
    pub fn reads_time(&self) -> bool {
        self.flags.iter().any(|flag| flag.rule.as_ref().is_some_and(|(_, rule)| rule.reads_time))
    }

    /// What the variants of a flag are, such as `a boolean`; `None` where it is not defined here.
    pub fn type_of(&self, key: &str) -> Option<&'static str> {
        self.find(key)?.variants.first().map(|(_, value)| type_of(value))
    }

    /// Whether a tenant may have this value of its own: it must be of the type that clients of all others get.
    ///
    /// # Errors
    ///
    /// [`FlagError::OtherType`] with both types.
    pub fn check(&self, flag: &FlagName, value: &Value) -> Result<(), FlagError> {
        match (self.type_of(flag.as_str()), type_of(value)) {
            (Some(defined), found) if defined != found => {
                Err(FlagError::OtherType { flag: flag.clone(), defined, found })
            }
            _ => Ok(()),
        }
    }

    /// What a flag comes to in a context; `None` where it is not defined here.
    pub fn evaluate(&self, key: &str, context: &EvaluationContext) -> Option<Evaluation<'_>> {
        Some(self.find(key)?.evaluate(context))
    }

    pub(super) fn find(&self, key: &str) -> Option<&Definition> {
        self.flags.get(*self.places.get(key)?)
    }

    /// What the flags with rules come to in a context, by the numbers of their rules. Of those that do not read the time,
    /// what is `known` of the same context at another time is taken.
    pub(super) fn outcomes(&self, context: &EvaluationContext, known: Option<&[Outcome]>) -> Box<[Outcome]> {
        let failed = Outcome { variant: None, reason: Reason::Error };
        let with_rules = self.flags.iter().filter_map(|flag| Some((flag, flag.rule.as_ref()?)));
        with_rules
            .map(|(flag, (number, rule))| match known.and_then(|known| known.get(*number)) {
                Some(known) if !rule.reads_time => *known,
                _ => flag.outcome(context).unwrap_or(failed),
            })
            .collect()
    }
}

impl Definition {
    pub(super) fn evaluate(&self, context: &EvaluationContext) -> Evaluation<'_> {
        let (outcome, error) = match self.outcome(context) {
            Ok(outcome) => (outcome, None),
            Err(error) => (Outcome { variant: None, reason: Reason::Error }, Some(error)),
        };
        let variant = outcome.variant.and_then(|index| self.variants.get(index));
        Evaluation {
            value: variant.map(|(_, value)| value),
            variant: variant.map(|(name, _)| &**name),
            reason: outcome.reason,
            metadata: &self.metadata,
            error,
        }
    }

    /// What it comes to where no rule has to be asked.
    pub(super) fn fixed(&self) -> Option<Outcome> {
        if !self.is_enabled {
            return Some(Outcome { variant: None, reason: Reason::Disabled });
        }
        let reason = if self.default.is_some() { Reason::Static } else { Reason::Default };
        self.rule.is_none().then_some(Outcome { variant: self.default, reason })
    }

    /// What a disabled flag is for those who can't go by a default of their own: off, where it is a switch.
    pub(super) fn off(&self) -> &Value {
        let is_switch = self.variants.iter().all(|(_, value)| value.is_boolean());
        if is_switch { &FALSE } else { &NULL }
    }

    fn outcome(&self, context: &EvaluationContext) -> Result<Outcome, EvaluationError> {
        let (None, Some((_, rule))) = (self.fixed(), &self.rule) else {
            return Ok(self.fixed().unwrap_or(Outcome { variant: None, reason: Reason::Default }));
        };
        let flag = || self.key.to_string();
        let no_variant = |named| EvaluationError::NoVariant { flag: flag(), named, variants: names_of(&self.variants) };
        match rule.run(&self.key, context) {
            Ok(None) => Ok(Outcome { variant: self.default, reason: Reason::Default }),
            Ok(Some(named)) => {
                let found = self.variants.binary_search_by(|(name, _)| (**name).cmp(&named));
                let variant = found.map_err(|_| no_variant(named))?;
                Ok(Outcome { variant: Some(variant), reason: Reason::TargetingMatch })
            }
            Err(RuleError::Broken(why)) => Err(EvaluationError::Rule { flag: flag(), why }),
            Err(RuleError::NoName(named)) => Err(no_variant(named)),
        }
    }
}

/// The names of variants for a message: all, or the first ten.
pub(super) fn names_of(variants: &[(Box<str>, Value)]) -> String {
    let names: Vec<&str> = variants.iter().map(|(name, _)| &**name).take(10).collect();
    let more = if variants.len() > names.len() { ", ..." } else { "" };
    names.join(", ") + more
}

impl fmt::Debug for Definitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Definitions({} flags, revision {:?})", self.flags.len(), self.revision)
    }
}
