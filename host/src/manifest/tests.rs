//! Tests of manifests as texts.

use semver::Version;

use super::{Manifest, ManifestError, sample::stamp_fields};

pub(super) const TASKS: &str = r#"
name = "tasks"
display-name = "Tasks"
category = "productivity"
version = "1.2.0"
host-api = "^1"
provides-to = ["clinic"]
publishes = ["task.done"]
subscribes = ["hr-core:employee.deleted"]
outbound = ["api.example.com:443"]

[dependencies]
hr-core = "^1.0"
email-service = { version = ">=1", optional = true }

[pricing]
tier = "premium"
monthly-price = 29.90
yearly-price = "299.99"

[features]
quick-add = true
bulk-import = false
page-size = 20

[models.Task]
unique = ["number"]
index = ["status", "assignee"]

[settings]
type = "object"
[settings.properties.limit]
type = "integer"
maximum = 100

[routes]
base = "/api/v1/tasks"
[[routes.endpoints]]
path = "/items/{id}"
method = "GET"
auth = true
roles = ["Member", "Admin"]
[[routes.endpoints]]
path = "/items"
method = "POST"
feature = "quick-add"
[[routes.endpoints]]
path = "/files/{*rest}"
method = "GET"
auth = false
"#;

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text.as_bytes(), &stamp_fields(), &Version::new(1, 4, 0))
}

/// What is reported for a text, one line each; empty if it is accepted.
fn problems(text: &str) -> String {
    parse(text).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A manifest of a name and whatever follows, and its problems.
fn check(rest: &str, expected: &str) {
    assert_eq!(problems(&format!("name = \"a\"\n{rest}")), expected, "{rest}");
}

#[test]
fn every_key_is_read_and_given_back_as_json() {
    insta::assert_json_snapshot!(parse(TASKS).unwrap().to_json(), @r#"
    {
      "authors": [
        "Ann",
        "Bob"
      ],
      "category": "productivity",
      "dependencies": {
        "email-service": {
          "optional": true,
          "version": ">=1"
        },
        "hr-core": {
          "optional": false,
          "version": "^1.0"
        }
      },
      "description": "A sample",
      "display-name": "Tasks",
      "features": {
        "bulk-import": false,
        "page-size": 20,
        "quick-add": true
      },
      "host-api": "^1",
      "license": "MIT",
      "models": {
        "Task": {
          "index": [
            "assignee",
            "status"
          ],
          "unique": [
            "number"
          ]
        }
      },
      "name": "tasks",
      "outbound": [
        "api.example.com:443"
      ],
      "pricing": {
        "monthly-price": "29.90",
        "tier": "premium",
        "yearly-price": "299.99"
      },
      "provides-to": [
        "clinic"
      ],
      "publishes": [
        "task.done"
      ],
      "routes": {
        "base": "/api/v1/tasks",
        "endpoints": [
          {
            "auth": true,
            "method": "GET",
            "path": "/items/{id}",
            "roles": [
              "Admin",
              "Member"
            ]
          },
          {
            "auth": true,
            "feature": "quick-add",
            "method": "POST",
            "path": "/items",
            "roles": []
          },
          {
            "auth": false,
            "method": "GET",
            "path": "/files/{*rest}",
            "roles": []
          }
        ]
      },
      "settings": {
        "properties": {
          "limit": {
            "maximum": 100,
            "type": "integer"
          }
        },
        "type": "object"
      },
      "subscribes": [
        "hr-core:employee.deleted"
      ],
      "version": "1.2.0"
    }
    "#);
}

#[test]
fn what_is_left_out_comes_from_the_stamp_or_is_empty() {
    let manifest = parse("name = \"small\"").unwrap();
    insta::assert_json_snapshot!(manifest.to_json(), @r#"
    {
      "authors": [
        "Ann",
        "Bob"
      ],
      "dependencies": {},
      "description": "A sample",
      "display-name": "small",
      "features": {},
      "host-api": "^1.0.0",
      "license": "MIT",
      "models": {},
      "name": "small",
      "outbound": [],
      "publishes": [],
      "subscribes": [],
      "version": "1.2.3"
    }
    "#);
    assert!(manifest.routes.is_none());
    let plain = parse("name = \"small\"\nmodels = [\"Task\", \"Note\"]").unwrap();
    assert_eq!(plain.models.iter().map(|model| &*model.name).collect::<Vec<_>>(), ["Note", "Task"]);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_text() {
    let text = r#"
name = "Tasks"
displayname = "Tasks"
version = "1.2"
provides-to = ["clinic", "clinic", 3]
subscribes = ["payroll:paid", "hr-core:Bad"]
outbound = ["https://api.example.com", "api.example.com:0"]

[dependencies]
hr-core = "one"
email = { range = "1" }
Bad = "1"

[pricing]
monthly-price = 1e3
yearly-price = -1.5
license = "MIT"

[features]
QuickAdd = true
limit = inf

[models.Task]
unique = ["a.b"]
indexes = []

[routes]
base = "/api/{v}/tasks/"
[[routes.endpoints]]
path = "/items/{id}"
method = "get"
[[routes.endpoints]]
path = "/items/{id}"
method = "PUT"
auth = "yes"
feature = "quick-ad"
[[routes.endpoints]]
path = "/items/{other}"
method = "PUT"
auth = false
roles = []
[[routes.endpoints]]
path = "items/a{b}"
"#;
    insta::assert_snapshot!(problems(text), @r#"
    line 2, column 8: `name` is `Tasks`: a module name is 1 to 63 characters: a lower-case letter, then lower-case letters, digits and `-`
    line 3, column 1: `displayname` is not known; the nearest known key is `display-name`
    line 4, column 11: `version` is `1.2`: unexpected end of input while parsing minor version number
    line 5, column 26: `provides-to[1]` is listed twice
    line 5, column 36: `provides-to[2]` must be a string, not an integer
    line 6, column 15: `subscribes[0]` names module `payroll`, which is not in [dependencies]
    line 6, column 31: `subscribes[1]` is `hr-core:Bad`: must be `MODULE:EVENT`, such as `hr-core:employee.deleted`
    line 7, column 13: `outbound[0]` is `https://api.example.com`: must be `HOST:PORT`, such as `api.example.com:443`, the host in lower case
    line 7, column 40: `outbound[1]` is `api.example.com:0`: must be `HOST:PORT`, such as `api.example.com:443`, the host in lower case
    line 10, column 11: `dependencies.hr-core` is `one`: unexpected character 'o' while parsing major version number
    line 11, column 9: `dependencies.email.version` is missing
    line 11, column 11: `dependencies.email.range` is not known; the nearest known key is `version`
    line 12, column 1: `dependencies.Bad` is no module: a module name is 1 to 63 characters: a lower-case letter, then lower-case letters, digits and `-`
    line 14, column 1: `pricing.tier` is missing
    line 15, column 17: `pricing.monthly-price` is `1e3`: must be a plain decimal such as `29.99`: digits, at most one point, no sign or exponent
    line 16, column 16: `pricing.yearly-price` is `-1.5`: must be a plain decimal such as `29.99`: digits, at most one point, no sign or exponent
    line 17, column 1: `pricing.license` is not known here: `license` is a top-level key and stands above the first [table]
    line 20, column 1: `features.QuickAdd` must be named in kebab-case, such as `bulk-import`, with at most 63 characters
    line 21, column 9: `features.limit` is a number that JSON does not have
    line 24, column 11: `models.Task.unique[0]` is `a.b`: a field is top-level and has at most 63 letters, digits, `_` and `-`, a letter or `_` first
    line 25, column 1: `models.Task.indexes` is not known; the nearest known key is `index`
    line 28, column 8: `routes.base` is `/api/{v}/tasks/`: must name at least one segment and not end with `/`
    line 31, column 10: `routes.endpoints[0].method` is `get`, must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
    line 35, column 8: `routes.endpoints[1].auth` must be `true` or `false`, not a string
    line 36, column 11: `routes.endpoints[1].feature` is `quick-ad`, which [features] does not declare; the nearest declared one is `QuickAdd`
    line 37, column 1: `routes.endpoints[2]` has the method and path of `routes.endpoints[1]`: PUT /items/{other}
    line 41, column 9: `routes.endpoints[2].roles` can't be asked for where `auth = false`
    line 41, column 9: `routes.endpoints[2].roles` names no role: leave it out to admit every known caller
    line 42, column 1: `routes.endpoints[3].method` is missing
    line 43, column 8: `routes.endpoints[3].path` is `items/a{b}`: must begin with `/`
    "#);
}

#[test]
fn text_that_is_no_toml_is_refused_with_all_places() {
    insta::assert_snapshot!(problems("name = \"a\"\nname = \"b\"\nx = = 3\n[open\n"), @r#"
    line 2, column 1: duplicate key
    line 3, column 5: extra `=`, expected nothing
    line 3, column 7: unexpected key or value, expected newline, `#`
    line 4, column 6: unclosed table, expected `]`
    "#);
    let not_text = Manifest::parse(b"name = \"a\"\n# \xff", &stamp_fields(), &Version::new(1, 0, 0));
    assert_eq!(not_text.unwrap_err().to_string(), "line 2, column 3: the text is not UTF-8 from here on");
}

#[test]
fn host_api_is_judged_before_all_other_keys() {
    let later = "name = 5\nhost-api = \"^1.9\"\nteleport = true\n[colours]\nred = 1";
    let expected = ManifestError::HostApi { range: "^1.9".parse().unwrap(), host: Version::new(1, 4, 0) };
    assert_eq!(parse(later).unwrap_err(), expected);
    assert_eq!(problems(later), "needs a host with module-api `^1.9`, this host has 1.4.0");
    assert!(
        matches!(parse(&later.replace("1.9", "1.4")), Err(ManifestError::Invalid(problems)) if problems.len() == 3)
    );
    let mut stamp = stamp_fields();
    stamp.api_version = "1.5.0".to_owned();
    let left_out = Manifest::parse(b"name = \"a\"", &stamp, &Version::new(1, 4, 0));
    assert!(matches!(left_out, Err(ManifestError::HostApi { .. })));
    check(
        "host-api = \"soon\"",
        "line 2, column 12: `host-api` is `soon`: unexpected character 's' while parsing major version number",
    );
}

#[test]
fn prices_are_the_digits_that_were_written() {
    for (written, kept) in [
        ("29.99", "29.99"),
        ("29.90", "29.90"),
        ("1_000.00", "1000.00"),
        ("0", "0"),
        ("12345678901234567890.000000000001", "12345678901234567890.000000000001"),
        ("\"0.1\"", "0.1"),
    ] {
        let manifest = parse(&format!("name = \"a\"\n[pricing]\ntier = \"x\"\nmonthly-price = {written}")).unwrap();
        assert_eq!(manifest.pricing.unwrap().monthly.unwrap().as_str(), kept);
    }
    for bad in ["-1", "1e3", "inf", "0x10", "\"1,5\"", "\"\"", "\".5\"", "true", "\"01\""] {
        assert!(parse(&format!("name = \"a\"\n[pricing]\ntier = \"x\"\nmonthly-price = {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn bases_and_paths_have_one_spelling() {
    for bad in [
        "",
        "/",
        "api",
        "/a/",
        "/a//b",
        "/a/{b}",
        "/a/../b",
        "/a b",
        "/ofrep",
        "/ofrep/v1",
        "/.well-known/x",
        "/a%2f",
        "/ä",
    ] {
        assert!(bad.parse::<super::BasePath>().is_err(), "{bad}");
    }
    for good in ["/a", "/api/v1/hr-core", "/ofrep2", "/a/ofrep", "/a/.well-known"] {
        assert!(good.parse::<super::BasePath>().is_ok(), "{good}");
    }
    let base = |text: &str| text.parse::<super::BasePath>().unwrap();
    assert!(
        base("/a/b").overlaps(&base("/a/b"))
            && base("/a").overlaps(&base("/a/b"))
            && base("/a/b").overlaps(&base("/a"))
    );
    assert!(!base("/a/b").overlaps(&base("/a/bc")) && !base("/a").overlaps(&base("/b")));

    for bad in ["", "x", "/x/", "/{a}/{a}", "/{*a}/b", "/{}", "/{A}", "/x{a}", "/{a", "//", "/.", "/a?b", "/{*}"] {
        assert!(bad.parse::<super::RoutePath>().is_err(), "{bad}");
    }
    let path = |text: &str| text.parse::<super::RoutePath>().unwrap();
    assert_eq!(path("/items/{id}/x").shape(), path("/items/{number}/x").shape());
    assert_ne!(path("/items/{id}").shape(), path("/items/{*id}").shape());
    assert!(path("/").segments().next().is_none());
}

#[test]
fn a_key_of_the_top_level_below_a_table_gets_a_hint() {
    check(
        "[features]\n[pricing]\ntier = \"x\"\nversion = \"1.0.0\"",
        "line 5, column 1: `pricing.version` is not known here: `version` is a top-level key and stands above the first [table]",
    );
}

#[test]
fn hostile_texts_are_refused_quickly_and_briefly() {
    let mut many = String::from("name = \"a\"\n");
    for i in 0..20_000 {
        many.push_str(&format!("k{i} = 1\n"));
    }
    let Err(ManifestError::Invalid(problems)) = parse(&many) else { panic!("accepted") };
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100].message, "and 19900 more problems");
    for deep in ["a.".repeat(100_000) + "b = 1", format!("a = {}", "[".repeat(200_000)), "{a=".repeat(50_000)] {
        assert!(parse(&deep).is_err());
    }
    let long_key = format!("{} = 1", "k".repeat(500_000));
    let text = parse(&long_key).unwrap_err().to_string();
    assert!(text.len() < 500, "{} bytes", text.len());
}
