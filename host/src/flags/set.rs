//! The flags of one tenant, compiled for reading.
//!
//! Two modules may declare the same flag with different defaults. Each then sees its own default, because it was
//! written and tested with that one; a value that the tenant set holds for both.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{assign::FlagError, name::FlagName};
use crate::names::ModuleName;

/// What one module declares: made once for a generation and shared by all tenants that use it.
#[derive(Debug, Clone)]
pub struct FlagDefaults {
    module: ModuleName,
    /// Sorted by name, each once.
    flags: Arc<[(Box<str>, Value)]>,
}

/// The flags of one tenant: immutable, replaced as a whole when the tenant or its modules change.
///
/// Every look-up is a search in sorted arrays: no lock, no allocation.
#[derive(Debug, Clone, Default)]
pub struct FlagSet {
    /// Sorted by name, each once.
    overrides: Box<[(Box<str>, Value)]>,
    /// Sorted by module, each once.
    modules: Box<[FlagDefaults]>,
}

/// The value of a flag and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlagAnswer<'a> {
    /// The flag's name.
    pub name: &'a str,
    /// Any JSON value.
    pub value: &'a Value,
    /// Who decided.
    pub source: FlagSource<'a>,
}

/// Who decided the value of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagSource<'a> {
    /// The tenant set it.
    Override,
    /// It is what this module declares.
    ModuleDefault(&'a ModuleName),
}

impl FlagDefaults {
    /// The defaults of a module's manifest. Of a name given twice the last value holds.
    pub fn new<N: Into<String>, V: Into<Value>>(module: ModuleName, flags: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { module, flags: sorted(flags).into() }
    }
}

impl FlagAnswer<'_> {
    /// Whether the flag is on: only the JSON value `true` is.
    pub fn is_on(&self) -> bool {
        *self.value == Value::Bool(true)
    }
}

impl FlagSet {
    /// Compiles the flags of a tenant: the declarations of its enabled modules and its own values. Of a module
    /// given twice the last holds.
    pub fn compile<N: Into<String>, V: Into<Value>>(
        modules: impl IntoIterator<Item = FlagDefaults>,
        overrides: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let by_name: BTreeMap<_, _> = modules.into_iter().map(|module| (module.module.clone(), module)).collect();
        Self { overrides: sorted(overrides).into(), modules: by_name.into_values().collect() }
    }

    /// What `module` sees of a flag: the tenant's value, else the module's own default, else nothing. Defaults
    /// of other modules are not seen.
    pub fn for_module(&self, module: &ModuleName, flag: &str) -> Option<FlagAnswer<'_>> {
        self.overridden(flag).or_else(|| {
            let index = self.modules.binary_search_by(|declared| declared.module.cmp(module)).ok()?;
            self.modules[index].answer(flag)
        })
    }

    /// Whether a flag is on for `module`; `None` where it is neither set nor declared by that module. A value
    /// that is no boolean is off.
    pub fn is_enabled(&self, module: &ModuleName, flag: &str) -> Option<bool> {
        self.for_module(module, flag).map(|answer| answer.is_on())
    }

    /// What holds for the tenant where no module asks: its own value, else the default of the first module by
    /// name that declares the flag.
    pub fn get(&self, flag: &str) -> Option<FlagAnswer<'_>> {
        self.overridden(flag).or_else(|| self.modules.iter().find_map(|module| module.answer(flag)))
    }

    /// Whether a feature is on for the tenant, as in [`FlagSet::get`]; an unknown one is off.
    pub fn is_feature_enabled(&self, flag: &str) -> bool {
        self.get(flag).is_some_and(|answer| answer.is_on())
    }

    /// All flags of the tenant with the value of [`FlagSet::get`], by name.
    pub fn feature_flags(&self) -> Map<String, Value> {
        self.names().filter_map(|name| self.get(name)).map(|a| (a.name.to_owned(), a.value.clone())).collect()
    }

    /// Every answer that some module of the tenant can get, by flag and then by module: one for a flag that the
    /// tenant set, else one for each module that declares it.
    pub fn list(&self) -> Vec<FlagAnswer<'_>> {
        let answers = |name| match self.overridden(name) {
            Some(answer) => vec![answer],
            None => self.modules.iter().filter_map(|module| module.answer(name)).collect(),
        };
        self.names().flat_map(answers).collect()
    }

    /// Whether the tenant may set this value: where an enabled module declares the flag as a boolean, it must
    /// be one, or the feature would be off without anybody having said so.
    ///
    /// # Errors
    ///
    /// [`FlagError::NotBoolean`] with the module that declares it.
    pub fn check(&self, flag: &FlagName, value: &Value) -> Result<(), FlagError> {
        let declared = self.modules.iter().find_map(|m| m.answer(flag.as_str()).filter(|a| a.value.is_boolean()));
        match declared {
            Some(FlagAnswer { source: FlagSource::ModuleDefault(module), .. }) if !value.is_boolean() => {
                Err(FlagError::NotBoolean { flag: flag.clone(), module: module.clone() })
            }
            _ => Ok(()),
        }
    }

    fn overridden(&self, flag: &str) -> Option<FlagAnswer<'_>> {
        let (name, value) = find(&self.overrides, flag)?;
        Some(FlagAnswer { name, value, source: FlagSource::Override })
    }

    /// Every name once, in order.
    fn names(&self) -> impl Iterator<Item = &str> {
        let declared = self.modules.iter().flat_map(|module| module.flags.iter());
        let mut names: Vec<&str> = self.overrides.iter().chain(declared).map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }
}

impl FlagDefaults {
    fn answer(&self, flag: &str) -> Option<FlagAnswer<'_>> {
        let (name, value) = find(&self.flags, flag)?;
        Some(FlagAnswer { name, value, source: FlagSource::ModuleDefault(&self.module) })
    }
}

fn find<'a>(sorted: &'a [(Box<str>, Value)], flag: &str) -> Option<(&'a str, &'a Value)> {
    let index = sorted.binary_search_by(|(name, _)| (**name).cmp(flag)).ok()?;
    sorted.get(index).map(|(name, value)| (&**name, value))
}

fn sorted<N: Into<String>, V: Into<Value>>(flags: impl IntoIterator<Item = (N, V)>) -> Vec<(Box<str>, Value)> {
    let by_name: BTreeMap<String, Value> = flags.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    by_name.into_iter().map(|(name, value)| (name.into_boxed_str(), value)).collect()
}
