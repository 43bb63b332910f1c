//! Route tables: what path belongs to which endpoint of which module, and what else is the same for all tenants that run
//! the same set of candidates. Built once for each set and shared by them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use http::Method;

use super::{
    context::{LimitsOf, ModuleLimits},
    desire::declared_by,
};
use crate::{
    catalog::Candidate,
    flags::{FlagDefaults, FlagSet},
    manifest::Endpoint,
    stores::Isolation,
};

/// The paths of one set of modules. Immutable.
#[derive(Debug)]
pub struct RouteTable {
    /// The modules of the set, in load order; slots of a tenant are in the same order.
    modules: Box<[Arc<Candidate>]>,
    /// Of each, whether the tenants have a library of it for themselves.
    isolations: Box<[Isolation]>,
    /// Of each, what its requests may take.
    limits: Box<[ModuleLimits]>,
    /// What they declare.
    declared: Arc<[FlagDefaults]>,
    /// The flags of tenants that set none.
    unset: Mutex<Vec<Weak<FlagSet>>>,
    /// Paths in which each segment stands for one.
    plain: matchit::Router<PathTarget>,
    /// Paths that take all that remains. Apart, as the router refuses `/{a}` beside `/{*rest}`; asked second, so
    /// that the more exact path wins.
    rests: matchit::Router<PathTarget>,
}

/// What lies at one path.
#[derive(Debug)]
struct PathTarget {
    module: usize,
    /// Few enough for a walk.
    methods: Vec<Offer>,
}

/// An endpoint at a path. Endpoints of one path may name its parameters differently.
#[derive(Debug)]
struct Offer {
    method: Method,
    endpoint_index: usize,
    params: Arc<[Arc<str>]>,
}

/// A path and method that a module serves.
#[derive(Debug)]
pub struct RouteMatch<'table, 'path> {
    /// Which of the table's modules.
    pub module: usize,
    /// Which endpoint of its manifest.
    pub endpoint_index: usize,
    /// The endpoint itself.
    pub endpoint: &'table Endpoint,
    /// The parameters as they stand in the path, still percent-encoded.
    pub params: matchit::Params<'table, 'path>,
    /// Their names, shared.
    pub names: &'table Arc<[Arc<str>]>,
}

/// What a path is to a table.
#[derive(Debug)]
pub enum Looked<'table, 'path> {
    /// An endpoint.
    Found(RouteMatch<'table, 'path>),
    /// A path with these methods only.
    OtherMethods {
        /// In the order of the manifest.
        allowed: Vec<Method>,
    },
    /// Under a module's base, but none of its paths.
    NoRoute,
    /// Under no base of the table.
    Foreign,
}

/// How many flag sets of tenants that set none are remembered. A guess: there are more only where rules split tenants
/// into that many kinds.
const MOST_UNSET: usize = 64;

impl RouteTable {
    /// Builds the table of a set of candidates in load order. The catalog has refused bases that overlap and
    /// paths that contradict each other; a path that can't be added all the same is left out and logged.
    pub(super) fn build(set: &[(Arc<Candidate>, Isolation)], limits_of: &LimitsOf) -> Self {
        let modules: Box<[Arc<Candidate>]> = set.iter().map(|(candidate, _)| Arc::clone(candidate)).collect();
        let (mut plain, mut rests) = (matchit::Router::new(), matchit::Router::new());
        for (module, candidate) in modules.iter().enumerate() {
            let Some(routes) = candidate.manifest.routes.as_ref() else { continue };
            let base = routes.base.as_str();
            let mut by_shape: Vec<(String, &str, Vec<Offer>)> = Vec::new();
            for (endpoint_index, endpoint) in routes.endpoints.iter().enumerate() {
                let (shape, path) = (endpoint.path.shape(), endpoint.path.as_str());
                let offer = Offer { method: endpoint.method(), endpoint_index, params: names_of(path) };
                match by_shape.iter_mut().find(|(known, ..)| *known == shape) {
                    Some((.., methods)) => methods.push(offer),
                    None => by_shape.push((shape, path, vec![offer])),
                }
            }
            for (_, path, methods) in by_shape {
                let full = if path == "/" { base.to_owned() } else { format!("{base}{path}") };
                let router = if path.contains("{*") { &mut rests } else { &mut plain };
                if let Err(error) = router.insert(&full, PathTarget { module, methods }) {
                    tracing::error!(module = %candidate.name, path = full, %error, "a path can't be routed");
                }
            }
        }
        let declared = FlagDefaults::sorted(modules.iter().map(|it| declared_by(it)));
        Self {
            isolations: set.iter().map(|(_, isolation)| *isolation).collect(),
            limits: modules.iter().map(|candidate| limits_of(candidate.name.as_str())).collect(),
            declared,
            unset: Mutex::default(),
            modules,
            plain,
            rests,
        }
    }

    /// The modules of the set, in load order.
    pub fn modules(&self) -> &[Arc<Candidate>] {
        &self.modules
    }

    /// Where a module is in the set.
    pub fn position(&self, module: &str) -> Option<usize> {
        self.modules.iter().position(|candidate| candidate.name.as_str() == module)
    }

    /// The module at a place.
    pub fn module(&self, at: usize) -> &Arc<Candidate> {
        &self.modules[at]
    }

    /// Whether tenants have a library of the module at a place for themselves.
    pub fn isolation(&self, at: usize) -> Isolation {
        self.isolations[at]
    }

    /// What requests of the module at a place may take.
    pub fn limits(&self, at: usize) -> ModuleLimits {
        self.limits[at]
    }

    /// What the modules declare as flags.
    pub(super) fn declared(&self) -> &Arc<[FlagDefaults]> {
        &self.declared
    }

    /// Of flag sets that nobody could tell apart, one; and whether it is this tenant's own.
    pub(super) fn shared(&self, flags: FlagSet) -> (Arc<FlagSet>, bool) {
        if flags.has_overrides() {
            return (Arc::new(flags), true);
        }
        let mut unset = self.unset.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = unset.iter().filter_map(Weak::upgrade).find(|known| known.is_same(&flags)) {
            return (known, false);
        }
        let flags = Arc::new(flags);
        unset.retain(|known| known.strong_count() > 0);
        let has_room = unset.len() < MOST_UNSET;
        if has_room {
            unset.push(Arc::downgrade(&flags));
        }
        (flags, !has_room)
    }

    /// What the table has at a path.
    pub fn look<'table, 'path>(&'table self, method: &Method, path: &'path str) -> Looked<'table, 'path> {
        let mut allowed: Vec<Method> = Vec::new();
        for router in [&self.plain, &self.rests] {
            let Ok(found) = router.at(path) else { continue };
            let target = found.value;
            let offers = |wanted: &Method| target.methods.iter().find(|offer| offer.method == *wanted);
            // A HEAD that has no endpoint of its own is answered as the GET would be, without the body.
            let asked = offers(method).or_else(|| if method == Method::HEAD { offers(&Method::GET) } else { None });
            match asked {
                Some(offer) => return Looked::Found(self.found(target, offer, found.params)),
                None => {
                    for offer in &target.methods {
                        if !allowed.contains(&offer.method) {
                            allowed.push(offer.method.clone());
                        }
                    }
                }
            }
        }
        if !allowed.is_empty() {
            Looked::OtherMethods { allowed }
        } else if self.owns(path) {
            Looked::NoRoute
        } else {
            Looked::Foreign
        }
    }

    /// The methods that a path is served by, in the order of the manifest; none where the table does not have it.
    pub fn methods(&self, path: &str) -> Vec<Method> {
        let mut methods = Vec::new();
        for found in [&self.plain, &self.rests].into_iter().filter_map(|router| router.at(path).ok()) {
            for offer in &found.value.methods {
                if !methods.contains(&offer.method) {
                    methods.push(offer.method.clone());
                }
            }
        }
        // As `look` serves it.
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        methods
    }

    fn found<'table, 'path>(
        &'table self,
        target: &'table PathTarget,
        offer: &'table Offer,
        params: matchit::Params<'table, 'path>,
    ) -> RouteMatch<'table, 'path> {
        let endpoint = self.modules[target.module]
            .manifest
            .routes
            .as_ref()
            .and_then(|routes| routes.endpoints.get(offer.endpoint_index))
            .expect("build took the index from this very list");
        RouteMatch {
            module: target.module,
            endpoint_index: offer.endpoint_index,
            endpoint,
            params,
            names: &offer.params,
        }
    }

    fn owns(&self, path: &str) -> bool {
        let bases = self.modules.iter().filter_map(|candidate| candidate.manifest.routes.as_ref());
        bases.map(|routes| routes.base.as_str()).any(|base| is_under(path, base))
    }
}

/// Whether a path is a base or lies below it, by whole segments.
pub(super) fn is_under(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn names_of(path: &str) -> Arc<[Arc<str>]> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| Arc::from(name.trim_start_matches('*')))
        .collect()
}

/// Keeps one table for each set of candidates that some tenant runs.
pub(super) struct RouteTables {
    limits_of: LimitsOf,
    tables: Mutex<HashMap<SetKey, Weak<RouteTable>>>,
}

/// The candidates' addresses, which their table keeps alive.
type SetKey = Vec<(usize, Isolation)>;

impl fmt::Debug for RouteTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteTables({})", self.tables.lock().unwrap_or_else(PoisonError::into_inner).len())
    }
}

impl RouteTables {
    /// None yet. What each module may take is asked once for each set.
    pub(super) fn new(limits_of: LimitsOf) -> Self {
        Self { limits_of, tables: Mutex::default() }
    }

    /// The table of a set, made where no tenant has it yet.
    pub(super) fn of(&self, set: &[(Arc<Candidate>, Isolation)]) -> Arc<RouteTable> {
        let key = set.iter().map(|(candidate, isolation)| (Arc::as_ptr(candidate) as usize, *isolation)).collect();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&key).and_then(Weak::upgrade) {
            return table;
        }
        tables.retain(|_, table| table.strong_count() > 0);
        let table = Arc::new(RouteTable::build(set, &self.limits_of));
        tables.insert(key, Arc::downgrade(&table));
        table
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use semver::Version;

    use super::*;
    use crate::manifest::{Manifest, sample};

    fn table(endpoints: &[(&str, &str)]) -> RouteTable {
        let mut text = "name = 'm'\nversion = '1.0.0'\n[routes]\nbase = '/m'\n".to_owned();
        for (method, path) in endpoints {
            text.push_str(&format!("[[routes.endpoints]]\nmethod = '{method}'\npath = '{path}'\n"));
        }
        let manifest = Manifest::parse(text.as_bytes(), &sample::stamp_fields(), &Version::new(1, 0, 0)).unwrap();
        let limits = ModuleLimits { concurrency: 1, body_bytes: 0, deadline: Duration::ZERO };
        let candidate = Arc::new(Candidate::sample(PathBuf::from("m.so"), manifest));
        RouteTable::build(&[(candidate, Isolation::Shared)], &(Box::new(move |_: &str| limits) as LimitsOf))
    }

    fn found(table: &RouteTable, method: Method, path: &str) -> String {
        match table.look(&method, path) {
            Looked::Found(found) => format!("{} {:?}", found.endpoint_index, found.names),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn endpoints_of_one_path_may_name_its_parameters_differently() {
        let table = table(&[("GET", "/items/{id}"), ("PUT", "/items/{key}"), ("GET", "/items/{id}/notes/{note}")]);
        assert_eq!(found(&table, Method::GET, "/m/items/7"), r#"0 ["id"]"#);
        assert_eq!(found(&table, Method::HEAD, "/m/items/7"), r#"0 ["id"]"#);
        assert_eq!(found(&table, Method::PUT, "/m/items/7"), r#"1 ["key"]"#);
        assert_eq!(found(&table, Method::GET, "/m/items/7/notes/8"), r#"2 ["id", "note"]"#);
        assert_eq!(found(&table, Method::DELETE, "/m/items/7"), "OtherMethods { allowed: [GET, PUT] }");
        assert_eq!(found(&table, Method::GET, "/m/items/"), "NoRoute");
        assert_eq!(found(&table, Method::GET, "/m//items/7"), "NoRoute");
        assert_eq!(found(&table, Method::GET, "/mm/items/7"), "Foreign");
    }

    #[test]
    fn a_literal_a_parameter_and_the_rest_may_lie_side_by_side() {
        let table = table(&[("GET", "/x/{a}"), ("GET", "/x/{*rest}"), ("GET", "/x/new"), ("GET", "/")]);
        assert_eq!(found(&table, Method::GET, "/m/x/new"), "2 []");
        assert_eq!(found(&table, Method::GET, "/m/x/7"), r#"0 ["a"]"#);
        assert_eq!(found(&table, Method::GET, "/m/x/7/8"), r#"1 ["rest"]"#);
        assert_eq!(found(&table, Method::GET, "/m"), "3 []");
        assert_eq!(found(&table, Method::PUT, "/m/x/7"), "OtherMethods { allowed: [GET] }");
        let table = self::table(&[("GET", "/x/{a}"), ("PUT", "/x/{*rest}")]);
        assert_eq!(table.methods("/m/x/7"), [Method::GET, Method::PUT, Method::HEAD]);
        assert_eq!((table.methods("/m/x/7/8"), table.methods("/m/y")), (vec![Method::PUT], Vec::new()));
        assert_eq!(found(&table, Method::PUT, "/m/x/7"), r#"1 ["rest"]"#);
    }
}
