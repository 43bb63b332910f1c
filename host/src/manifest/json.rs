//! JSON and manifests: TOML values as JSON, and a whole manifest as JSON for operators. The keys are those of
//! `module.toml`, prices are strings.

use serde_json::{Map, Number, Value as Json, json};
use toml::de::DeValue;

use super::{
    declared::{Decimal, Manifest},
    source::{Problems, Value},
};

/// A TOML value as JSON: dates and times become strings; integers over 64 bits, infinities and NaN are
/// problems.
pub(super) fn from_toml(value: &Value<'_>, problems: &mut Problems) -> Option<Json> {
    let number = |number: Option<Number>, problems: &mut Problems| {
        if number.is_none() {
            value.wrong("is a number that JSON does not have", problems);
        }
        number.map(Json::Number)
    };
    match value.toml() {
        DeValue::String(text) => Some(Json::String(text.to_string())),
        DeValue::Boolean(flag) => Some(Json::Bool(*flag)),
        DeValue::Datetime(time) => Some(Json::String(time.to_string())),
        DeValue::Integer(integer) => {
            let signed = i64::from_str_radix(integer.as_str(), integer.radix()).map(Number::from);
            let unsigned = || u64::from_str_radix(integer.as_str(), integer.radix()).map(Number::from);
            number(signed.or_else(|_| unsigned()).ok(), problems)
        }
        DeValue::Float(float) => number(float.as_str().parse().ok().and_then(Number::from_f64), problems),
        DeValue::Array(_) => {
            Some(Json::Array(value.items(problems).iter().filter_map(|item| from_toml(item, problems)).collect()))
        }
        DeValue::Table(_) => {
            let mut object = Map::new();
            for entry in value.entries(problems) {
                if let Some(json) = from_toml(&entry.value, problems) {
                    object.insert(entry.name.to_owned(), json);
                }
            }
            Some(Json::Object(object))
        }
    }
}

impl Manifest {
    /// The manifest as a JSON object with the keys of `module.toml`. Keys that are absent there and have no
    /// default are absent here; prices and version ranges are strings; a dependency is always an object.
    pub fn to_json(&self) -> Json {
        let mut out = Map::new();
        let mut put = |key: &str, value: Json| out.insert(key.to_owned(), value);
        put("name", json!(self.name.as_str()));
        put("display-name", json!(self.display_name));
        if let Some(category) = &self.category {
            put("category", json!(category));
        }
        put("version", json!(self.version.to_string()));
        put("description", json!(self.description));
        put("authors", json!(self.authors));
        put("license", json!(self.license));
        put("host-api", json!(self.host_api.to_string()));
        if let Some(names) = &self.provides_to {
            put("provides-to", names.iter().map(|name| json!(name.as_str())).collect());
        }
        put("publishes", self.publishes.iter().map(|event| json!(event.as_str())).collect());
        put("subscribes", self.subscribes.iter().map(|event| json!(event.to_string())).collect());
        put("outbound", self.outbound.iter().map(|host| json!(host.to_string())).collect());
        let dependency = |it: &super::Dependency| json!({ "version": it.range.to_string(), "optional": it.optional });
        put("dependencies", object(self.dependencies.iter().map(|(name, it)| (name.as_str(), dependency(it)))));
        if let Some(pricing) = &self.pricing {
            let mut prices = Map::new();
            prices.insert("tier".to_owned(), json!(pricing.tier));
            for (key, price) in [("monthly-price", &pricing.monthly), ("yearly-price", &pricing.yearly)] {
                if let Some(price) = price.as_ref().map(Decimal::as_str) {
                    prices.insert(key.to_owned(), json!(price));
                }
            }
            put("pricing", Json::Object(prices));
        }
        put("features", object(self.features.iter().map(|(name, value)| (&**name, value.clone()))));
        let models = self.models.iter();
        put("models", object(models.map(|it| (&*it.name, json!({ "unique": it.unique, "index": it.index })))));
        if let Some(settings) = &self.settings {
            put("settings", Json::clone(settings));
        }
        if let Some(routes) = &self.routes {
            let endpoints: Vec<_> = routes.endpoints.iter().map(endpoint).collect();
            put("routes", json!({ "base": routes.base.as_str(), "endpoints": endpoints }));
        }
        Json::Object(out)
    }
}

fn object<'k>(entries: impl Iterator<Item = (&'k str, Json)>) -> Json {
    Json::Object(entries.map(|(key, value)| (key.to_owned(), value)).collect())
}

fn endpoint(endpoint: &super::Endpoint) -> Json {
    let mut out = Map::new();
    out.insert("path".to_owned(), json!(endpoint.path.as_str()));
    out.insert("method".to_owned(), json!(endpoint.method().as_str()));
    out.insert("auth".to_owned(), json!(endpoint.auth));
    out.insert("roles".to_owned(), json!(endpoint.roles));
    if let Some(feature) = &endpoint.feature {
        out.insert("feature".to_owned(), json!(feature));
    }
    Json::Object(out)
}
