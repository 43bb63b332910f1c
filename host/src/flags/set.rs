//! The flags of one tenant, compiled for reading.
//!
//! What rules of definitions come to for the tenant as a whole is found out when the set is made. What they come to for
//! one of its users is found out when a client asks.
//!
//! Two modules may declare the same flag with different defaults. Each then sees its own default, because it was
//! written and tested with that one; a value that the tenant set holds for both.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    assign::FlagError,
    context::{EvaluationContext, canonical},
    definitions::{Definition, Definitions, EvaluationError, NULL, Outcome, Reason},
    name::FlagName,
};
use crate::names::{ModuleName, TenantId};

/// What one module declares: made once for a generation and shared by all tenants that use it.
#[derive(Debug, Clone)]
pub struct FlagDefaults {
    module: ModuleName,
    /// Sorted by name, each once.
    flags: Arc<[(Box<str>, Value)]>,
}

/// The flags of one tenant: immutable, replaced as a whole when the tenant or its modules change.
///
/// Every look-up is a search in sorted arrays and one in a map: no lock, no allocation.
#[derive(Debug, Clone, Default)]
pub struct FlagSet {
    /// Sorted by name, each once.
    overrides: Box<[(Box<str>, Value)]>,
    /// Sorted by module, each once; the same for all tenants with the same modules.
    modules: Arc<[FlagDefaults]>,
    /// For all tenants the same.
    definitions: Arc<Definitions>,
    /// What the definitions with rules come to for the tenant, by the numbers of their rules.
    outcomes: Box<[Outcome]>,
    /// Of all of the above; made when somebody asks for it.
    digest: OnceLock<[u8; 32]>,
}

/// The value of a flag and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlagAnswer<'a> {
    /// The flag's name.
    pub name: &'a str,
    /// Any JSON value; `null` where a definition leaves the value to whoever asks.
    pub value: &'a Value,
    /// Who decided.
    pub source: FlagSource<'a>,
    /// The name of the value, where a definition gave it.
    pub variant: Option<&'a str>,
    /// Why it is so.
    pub reason: Reason,
}

/// What a flag comes to for one user of the tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagEvaluation<'a> {
    /// The flag's name.
    pub name: &'a str,
    /// Missing where the user's program has to go by its own default.
    pub value: Option<&'a Value>,
    /// Who decided.
    pub source: FlagSource<'a>,
    /// The name of the value, where a definition gave it.
    pub variant: Option<&'a str>,
    /// Why it is so.
    pub reason: Reason,
    /// What the definition says of itself; missing without one.
    pub metadata: Option<&'a Map<String, Value>>,
    /// With [`Reason::Error`].
    pub error: Option<EvaluationError>,
}

/// Who decided the value of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagSource<'a> {
    /// The tenant set it.
    Override,
    /// Operators define it for all tenants.
    Definition,
    /// It is what this module declares.
    ModuleDefault(&'a ModuleName),
}

impl FlagDefaults {
    /// The defaults of a module's manifest. Of a name given twice the last value holds.
    pub fn new<N: Into<String>, V: Into<Value>>(module: ModuleName, flags: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { module, flags: sorted(flags).into() }
    }

    /// Those of several modules, as many tenants may share them. Of a module given twice the last holds.
    pub fn sorted(modules: impl IntoIterator<Item = Self>) -> Arc<[Self]> {
        let by_name: BTreeMap<_, _> = modules.into_iter().map(|module| (module.module.clone(), module)).collect();
        by_name.into_values().collect()
    }
}

impl FlagAnswer<'_> {
    /// Whether the flag is on: only the JSON value `true` is.
    pub fn is_on(&self) -> bool {
        *self.value == Value::Bool(true)
    }
}

impl<'a> From<FlagAnswer<'a>> for FlagEvaluation<'a> {
    fn from(answer: FlagAnswer<'a>) -> Self {
        let FlagAnswer { name, value, source, variant, reason } = answer;
        Self { name, value: Some(value), source, variant, reason, metadata: None, error: None }
    }
}

impl FlagSet {
    /// Compiles the flags of a tenant: the declarations of its enabled modules and its own values. Of a module
    /// given twice the last holds.
    pub fn compile<N: Into<String>, V: Into<Value>>(
        modules: impl IntoIterator<Item = FlagDefaults>,
        overrides: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self::over(FlagDefaults::sorted(modules), overrides)
    }

    /// As [`FlagSet::compile`], over declarations that others share, from [`FlagDefaults::sorted`].
    pub fn over<N: Into<String>, V: Into<Value>>(
        modules: Arc<[FlagDefaults]>,
        overrides: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self { overrides: sorted(overrides).into(), modules, ..Self::default() }
    }

    /// The same under these definitions, as they are for the tenant at this time.
    #[must_use]
    pub fn defined_by(self, definitions: &Arc<Definitions>, tenant: &TenantId, unix_seconds: u64) -> Self {
        let context = EvaluationContext::of_tenant(tenant, unix_seconds);
        // Under the same definitions only what reads the time can have changed.
        let known = Arc::ptr_eq(definitions, &self.definitions).then_some(&*self.outcomes);
        let outcomes = definitions.outcomes(&context, known);
        let Self { overrides, modules, .. } = self;
        Self { overrides, modules, definitions: Arc::clone(definitions), outcomes, digest: OnceLock::new() }
    }

    /// The definitions that it is under.
    pub fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// Whether the tenant has values of its own.
    pub fn has_overrides(&self) -> bool {
        !self.overrides.is_empty()
    }

    /// About how many bytes it takes for itself.
    pub fn bytes(&self) -> usize {
        let overrides: usize = self.overrides.iter().map(|(name, value)| name.len() + bytes_of(value)).sum();
        size_of::<Self>() + size_of_val(&*self.overrides) + overrides + size_of_val(&*self.outcomes)
    }

    /// Whether two sets are one for whoever reads them; those of tenants with values of their own never are.
    pub fn is_same(&self, other: &Self) -> bool {
        !self.has_overrides()
            && !other.has_overrides()
            && Arc::ptr_eq(&self.modules, &other.modules)
            && Arc::ptr_eq(&self.definitions, &other.definitions)
            && self.outcomes == other.outcomes
    }

    /// Whether modules would see no difference between two sets of one tenant under the same definitions.
    pub fn has_outcomes_of(&self, other: &Self) -> bool {
        self.outcomes == other.outcomes
    }

    /// What `module` sees of a flag: the tenant's value, else what is defined for all, else the module's own default,
    /// else nothing. Defaults of other modules are not seen.
    pub fn for_module(&self, module: &ModuleName, flag: &str) -> Option<FlagAnswer<'_>> {
        self.resolve(flag, || {
            let index = self.modules.binary_search_by(|declared| declared.module.cmp(module)).ok()?;
            self.modules[index].answer(flag)
        })
    }

    /// Whether a flag is on for `module`; `None` where it is neither set nor defined nor declared by that module. A value
    /// that is no boolean is off.
    pub fn is_enabled(&self, module: &ModuleName, flag: &str) -> Option<bool> {
        self.for_module(module, flag).map(|answer| answer.is_on())
    }

    /// What holds for the tenant where no module asks: its own value, else what is defined for all, else the default of
    /// the first module by name that declares the flag.
    pub fn get(&self, flag: &str) -> Option<FlagAnswer<'_>> {
        self.resolve(flag, || self.declared(flag))
    }

    /// Whether a feature is on for the tenant, as in [`FlagSet::get`]; an unknown one is off.
    pub fn is_feature_enabled(&self, flag: &str) -> bool {
        self.get(flag).is_some_and(|answer| answer.is_on())
    }

    /// All flags of the tenant that have a value, with that of [`FlagSet::get`], by name.
    pub fn feature_flags(&self) -> Map<String, Value> {
        let answers = self.names().filter_map(|name| self.get(name)).filter(|answer| !answer.value.is_null());
        answers.map(|answer| (answer.name.to_owned(), answer.value.clone())).collect()
    }

    /// Every answer that some module of the tenant can get, by flag and then by module: one for a flag that the
    /// tenant set or that is defined for all, else one for each module that declares it.
    pub fn list(&self) -> Vec<FlagAnswer<'_>> {
        let mut answers = Vec::new();
        for name in self.names() {
            let declaring: Vec<_> = self.modules.iter().filter(|module| module.answer(name).is_some()).collect();
            match self.get(name) {
                Some(FlagAnswer { source: FlagSource::ModuleDefault(_), .. }) => {
                    let of_modules = declaring.into_iter().filter_map(|module| self.for_module(&module.module, name));
                    answers.extend(of_modules);
                }
                answer => answers.extend(answer),
            }
        }
        answers
    }

    /// What a flag comes to for one user of the tenant; `None` where nobody set, defined or declared it.
    pub fn evaluate(&self, flag: &str, context: &EvaluationContext) -> Option<FlagEvaluation<'_>> {
        if let Some(answer) = self.overridden(flag) {
            return Some(answer.into());
        }
        let Some(definition) = self.definitions.find(flag) else { return self.declared(flag).map(Into::into) };
        let found = definition.evaluate(context);
        let (mut value, mut source) = (found.value, FlagSource::Definition);
        // A switch that is off stays off, and a failure stays one; what was only left open falls to the modules.
        if value.is_none()
            && found.reason == Reason::Default
            && let Some(declared) = self.declared(flag)
        {
            (value, source) = (Some(declared.value), declared.source);
        }
        let (variant, reason, metadata, error) = (found.variant, found.reason, Some(found.metadata), found.error);
        Some(FlagEvaluation { name: &definition.key, value, source, variant, reason, metadata, error })
    }

    /// Why the rule of a flag fails for the tenant as a whole; `None` where it does not.
    pub fn failure(&self, flag: &str, tenant: &TenantId, unix_seconds: u64) -> Option<EvaluationError> {
        let failed = self.get(flag).filter(|answer| answer.reason == Reason::Error);
        let definition = failed.and_then(|_| self.definitions.find(flag))?;
        definition.evaluate(&EvaluationContext::of_tenant(tenant, unix_seconds)).error
    }

    /// Stands for all that [`FlagSet::evaluate`] answers, without evaluating anything: another tenant, another
    /// context, another value anywhere or another rule make another one. Where a rule reads the time it holds for at most
    /// a minute. Hexadecimal digits.
    pub fn stamp(&self, tenant: &TenantId, context: &EvaluationContext) -> String {
        let mut hash = Sha256::new();
        hash.update(tenant.as_str());
        hash.update([0]);
        hash.update(self.digest());
        if self.definitions.reads_time() {
            hash.update((context.unix_seconds() / 60).to_le_bytes());
        }
        hash.update([0]);
        context.digest(&mut hash);
        hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Stands for all that is set, defined and declared here, for whomever it is: another value anywhere or another rule
    /// make another one. The same on every host.
    pub fn digest(&self) -> &[u8; 32] {
        self.digest.get_or_init(|| self.make_digest())
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

    /// The precedence; `below` is what holds where neither the tenant nor a definition has a value.
    fn resolve<'a>(&'a self, flag: &str, below: impl FnOnce() -> Option<FlagAnswer<'a>>) -> Option<FlagAnswer<'a>> {
        if let Some(answer) = self.overridden(flag) {
            return Some(answer);
        }
        let Some(definition) = self.definitions.find(flag) else { return below() };
        let outcome = self.outcome(definition);
        let defined = |value, variant| FlagAnswer {
            name: &definition.key,
            value,
            source: FlagSource::Definition,
            variant,
            reason: outcome.reason,
        };
        if outcome.reason == Reason::Disabled {
            return Some(defined(definition.off(), None));
        }
        match outcome.variant.and_then(|index| definition.variants.get(index)) {
            Some((variant, value)) => Some(defined(value, Some(&**variant))),
            None => Some(match below() {
                Some(answer) => FlagAnswer { reason: outcome.reason, ..answer },
                None => defined(&NULL, None),
            }),
        }
    }

    fn outcome(&self, definition: &Definition) -> Outcome {
        let of_rule = definition.rule.as_ref().and_then(|(number, _)| self.outcomes.get(*number).copied());
        let fixed = definition.fixed().or(of_rule);
        fixed.unwrap_or(Outcome { variant: definition.default, reason: Reason::Default })
    }

    fn declared(&self, flag: &str) -> Option<FlagAnswer<'_>> {
        self.modules.iter().find_map(|module| module.answer(flag))
    }

    fn overridden(&self, flag: &str) -> Option<FlagAnswer<'_>> {
        let (name, value) = find(&self.overrides, flag)?;
        Some(FlagAnswer { name, value, source: FlagSource::Override, variant: None, reason: Reason::Static })
    }

    fn make_digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        add(self.definitions.revision());
        for (name, value) in &self.overrides {
            add(name);
            add(&canonical(value));
        }
        for module in self.modules.iter() {
            // No flag is called so.
            add("");
            add(module.module.as_str());
            for (name, value) in module.flags.iter() {
                add(name);
                add(&canonical(value));
            }
        }
        hash.finalize().into()
    }

    /// Every name once, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let declared = self.modules.iter().flat_map(|module| module.flags.iter());
        let mut names: Vec<&str> = self.overrides.iter().chain(declared).map(|(name, _)| &**name).collect();
        names.extend(self.definitions.flags.iter().map(|flag| &*flag.key));
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }
}

impl FlagDefaults {
    fn answer(&self, flag: &str) -> Option<FlagAnswer<'_>> {
        let (name, value) = find(&self.flags, flag)?;
        let source = FlagSource::ModuleDefault(&self.module);
        Some(FlagAnswer { name, value, source, variant: None, reason: Reason::Default })
    }
}

/// About how many bytes a value takes beside its own place.
pub fn bytes_of(value: &Value) -> usize {
    const VALUE: usize = size_of::<Value>();
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| VALUE + bytes_of(item)).sum(),
        // Maps have room for eleven in each of their nodes.
        Value::Object(fields) => {
            let nodes = fields.len().div_ceil(8) * 11 * (VALUE + size_of::<String>());
            nodes + fields.iter().map(|(name, value)| name.len() + bytes_of(value)).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
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
