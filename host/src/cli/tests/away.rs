//! Hosts whose store is away, or that end in the middle of an answer; and what is told of what is wrong with arguments.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
};

use clap::Parser;
use serde_json::json;

use super::super::{
    args::{Export, Import, Remote, Tenon},
    client::Client,
    exit,
    failure::{Failure, Refused},
    moving,
    output::Output,
    run,
};

fn remote(url: String, token: PathBuf) -> Remote {
    Remote { url, token_file: Some(token), json: false }
}

fn nobody() -> Remote {
    remote("http://127.0.0.1:1".to_owned(), PathBuf::new())
}

/// Asks something that gives these answers, one after the other, and closes the connection after each.
fn with<T>(answers: Vec<String>, asking: impl FnOnce(&Client) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("admin.token");
    fs::write(&token, "x".repeat(43)).unwrap();
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let host = Client::new(&remote(url, token)).unwrap();
    let asked = asking(&host);
    server.join().unwrap();
    asked
}

fn answer(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}\r\n\r\n{body}")
}

#[test]
fn an_answer_that_may_be_old_says_so_in_a_line() {
    let answers = vec![answer("Content-Length: 2", "{}"), answer("Content-Length: 2\r\nX-Tenon-Stale: 17", "{}")];
    let (fresh, stale) = with(answers, |host| {
        host.get("/admin/v1/tenants").unwrap();
        let fresh = run::of_age(host, Output::default()).remarks;
        host.get("/admin/v1/tenants").unwrap();
        (fresh, run::of_age(host, Output::default()).remarks)
    });
    assert!(fresh.is_empty(), "{fresh:?}");
    assert_eq!(stale, ["warning: what the host knows may be 17 s behind the store"]);
}

#[test]
fn an_export_that_ends_too_early_is_not_left_under_its_name() {
    for end in ["", "0\r\n\r\n"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.jsonl");
        let answers = vec![answer("Transfer-Encoding: chunked", &format!("3\r\n{{}}\n\r\n{end}"))];
        let failure = with(answers, |host| moving::export(host, &Export { file, remote: nobody() }).unwrap_err());
        assert!(failure.lines().starts_with("error: the export was cut off: "), "{failure:?}");
        assert_eq!(failure.exit(), exit::UNAVAILABLE);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    with(Vec::new(), |host| {
        for path in ["/nonexistent/all.jsonl", "/"] {
            let refused = moving::import(host, false, &Import { file: path.into(), remote: nobody() }).unwrap_err();
            assert_eq!(refused.exit(), exit::USAGE);
            assert!(refused.lines().starts_with(&format!("error: `{path}`: ")), "{refused:?}");
        }
        let file = Path::new("/nonexistent/all.jsonl").to_owned();
        let refused = moving::export(host, &Export { file, remote: nobody() }).unwrap_err();
        assert!(refused.lines().contains("`/nonexistent/all.jsonl") && refused.exit() == exit::USAGE, "{refused:?}");
    });
}

#[test]
fn each_problem_of_a_refusal_has_a_line() {
    let refused = |problems: &[&str]| {
        let message = format!("Invalid flag: {}", problems.join("; "));
        let body = json!({ "code": "FLAG_INVALID", "message": message, "problems": problems });
        Failure::Refused(Box::new(Refused::read(422, &body).unwrap())).lines()
    };
    assert_eq!(refused(&["a: x"]), "error: Invalid flag: a: x\ncode: FLAG_INVALID\n");
    let told = "error: Invalid flag\nproblem: a: x\nproblem: b; c: y\ncode: FLAG_INVALID\n";
    assert_eq!(refused(&["a: x", "b; c: y"]), told);
}

#[test]
fn what_is_wrong_with_an_argument_is_said_in_its_name() {
    let told = |line: &str| Tenon::try_parse_from(line.split_whitespace()).unwrap_err().to_string();
    let expires = told("tenon keys create acme --name shop --expires tomorrow");
    assert!(expires.contains("--expires") && expires.contains("2030-01-01T00:00:00Z"), "{expires}");
    let scope = told("tenon keys create acme --name shop --scope all");
    assert!(scope.contains("--scope") && scope.contains("flags:read"), "{scope}");
    let remove = told("tenon definitions remove");
    assert!(remove.contains("--all"), "{remove}");
    assert!(told("tenon definitions remove a --all").contains("cannot be used"), "one of both");
}
