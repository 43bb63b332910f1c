//! What operators do to a host: have the folder read, start it with every module off, restart it under load.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Host, NewModule, Setup, until, until_some};

const MARK: &str = "/fixtures/answers/mark";
const ONE: &str = "the mark of release one";
const MOODY: &str = "/fixtures/moody/mark";

/// A host that notices nothing by itself.
fn unwatched() -> Setup {
    Setup::with(&["moody"]).config("[watch]\nmode = \"poll\"\npoll-interval = \"1h\"\n[tenancy]\nlinger = \"0s\"\n")
}

fn generation(host: &Host, tenant: &str) -> Value {
    host.json(&["tenants", "show", tenant])["enabledModules"][0]["state"]["generation"].clone()
}

#[test]
fn the_folder_is_read_when_the_host_is_told_to() {
    let host = unwatched().start();
    host.tenant("acme", &["moody"]);
    host.get("acme", MOODY).expect_text(ONE);
    let told = host.tenon(&["reload"]);
    let told = told.succeeds();
    assert_eq!((&*told.stdout, told.stderr.trim()), ("", "nothing has changed"));

    host.setup().add_new("moody.so", &NewModule::moody("1.1.0", "the mark of release two"));
    host.setup().place("broken.so", b"no library");
    host.get("acme", MOODY).expect_text(ONE);
    let told = host.tenon(&["reload"]);
    let told = told.succeeds();
    for line in ["added     moody", "removed   moody", "kept out", "MANIFEST_INVALID"] {
        assert!(told.stdout.contains(line), "{line}: {}", told.stdout);
    }
    until("the tenant has moved", || host.get("acme", MOODY).text() == "the mark of release two");

    host.setup().add_new("moody.so", &NewModule::moody("1.2.0", "the mark of release six"));
    host.signal(Signal::HUP);
    until("the tenant has moved", || host.get("acme", MOODY).text() == "the mark of release six");
    let found = host.json(&["reload"]);
    assert_eq!(found, json!({ "added": [], "replaced": [], "removed": [], "rejected": [] }));

    fs::rename(host.setup().plugins(), host.setup().folder().join("elsewhere")).unwrap();
    host.tenon(&["reload"]).refuses(1, "INTERNAL", "An internal error occurred");
    let why = host.ask_operators("POST", "/admin/v1/reload").token(&host.token()).send();
    assert!(why.json()["reason"].as_str().unwrap().contains("list plugins folder"), "{}", why.text());
    host.get("acme", MOODY).expect_text("the mark of release six");
    host.stop();
}

#[test]
fn a_module_that_is_reloaded_gets_a_new_library_and_new_instances() {
    let host = unwatched().start();
    for tenant in ["acme", "other"] {
        host.tenant(tenant, &["moody"]);
        host.get(tenant, MOODY).expect_text(ONE);
    }
    let before = generation(&host, "acme");
    let found = host.json(&["reload", "moody"]);
    assert_eq!(found["replaced"], json!([{ "module": "moody", "version": "1.0.0" }]), "{found}");
    for tenant in ["acme", "other"] {
        until("it runs from another library", || {
            let now = generation(&host, tenant);
            now.is_u64() && now != before
        });
        host.get(tenant, MOODY).expect_text(ONE);
    }
    until("the old library is unloaded", || host.json(&["stats"])["libraries"]["unloaded"] == json!(1));
    host.tenon(&["reload", "absent"]).refuses(3, "MODULE_NOT_FOUND", "Module not found in registry: absent");
    host.stop();
}

#[test]
fn in_safe_mode_every_module_is_off_until_it_is_released() {
    let host = Setup::with(&["answers", "moody"]).start();
    for tenant in ["acme", "other"] {
        host.tenant(tenant, &["answers", "moody"]);
        host.get(tenant, MARK).expect_text(ONE);
    }
    let host = host.stop().start_with(|command| {
        command.arg("--safe");
    });
    let off = host.get("acme", MARK);
    off.refuses(503, "MODULE_QUARANTINED", "Module answers is kept from running");
    assert_eq!(host.json(&["status"])["state"], "safe");
    assert_eq!(host.json(&["stats"])["libraries"]["live"], 0, "nothing of it was opened");
    let ready = host.ask_operators("GET", "/readyz").send();
    assert_eq!((ready.status, ready.text().trim()), (503, "safe"));
    let reason = "this host was started in safe mode, and nobody has released it";
    assert!(host.tenon(&["tenants", "show", "acme"]).stdout.contains(reason));
    let listed = host.tenon(&["quarantine", "list"]);
    assert_eq!(listed.stderr.trim(), "this host is in safe mode: all modules are off");
    // What has to run to be proved is refused; what only is written is not.
    host.tenon(&["tenants", "create", "late"]).succeeds();
    let refused = host.tenon(&["enable", "late", "answers"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.stderr.contains("MODULE_QUARANTINED"), "{refused:?}");
    assert_eq!(host.json(&["tenants", "show", "late"])["enabledModules"], json!([]));
    host.tenon(&["disable", "other", "moody"]).succeeds();

    let released = host.tenon(&["quarantine", "release", "answers", "--tenant", "acme"]);
    assert_eq!(released.stderr.trim(), "answers may run on this host, which is in safe mode");
    until("it runs for one tenant", || host.get("acme", MARK).text() == ONE);
    assert_eq!(host.get("other", MARK).status, 503);
    assert_eq!(host.get("acme", MOODY).status, 503);
    host.tenon(&["quarantine", "release", "answers"]).succeeds();
    until("it runs for all", || host.get("other", MARK).text() == ONE);
    let listed = host.tenon(&["quarantine", "list"]);
    assert!(listed.stderr.contains("but answers, answers for acme are off"), "{listed:?}");
    assert_eq!(host.json(&["quarantine", "list"])["safeMode"][0], json!({ "module": "answers" }));

    let host = host.stop().start();
    host.get("acme", MOODY).expect_text(ONE);
    host.get("other", MARK).expect_text(ONE);
    assert_eq!(host.get("other", MOODY).status, 403, "it was disabled meanwhile");
    assert_eq!(host.json(&["status"])["state"], "ready");
    host.stop();
}

/// Whoever opens the sockets for a host, and starts it again and again.
struct Activator {
    setup: Setup,
    tenants: TcpListener,
    operators: TcpListener,
}

impl Activator {
    fn new(setup: Setup) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self { setup, tenants: listen(), operators: listen() }
    }

    fn command(&self) -> Command {
        let mut command = self.setup.command();
        let given =
            |socket: &TcpListener, child_fd| FdMapping { parent_fd: socket.try_clone().unwrap().into(), child_fd };
        command.fd_mappings(vec![given(&self.tenants, 3), given(&self.operators, 4)]).unwrap();
        command.env("LISTEN_FDS", "2").env("TENON_LOG", "warn");
        command
    }

    /// Starts a host; does not wait for it.
    fn spawn(&self) -> Child {
        self.command().stdout(Stdio::null()).spawn().unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.tenants.local_addr().unwrap()
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    lost: AtomicU64,
    ended: AtomicBool,
}

/// One request on a connection; `None` where there was no whole answer.
fn exchange(stream: &mut TcpStream, path: &str) -> Option<String> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-tenant-id: acme\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() >= length.parse().ok()? {
                return Some(text.into_owned());
            }
        }
    }
}

/// Asks until it is told to end: a connection for each request, as a client does that can't try again.
fn ask_on(address: SocketAddr, path: &str, seen: &Seen) {
    while !seen.ended.load(Ordering::Acquire) {
        let answer = TcpStream::connect(address).ok().and_then(|mut stream| exchange(&mut stream, path));
        let counter = match answer {
            Some(answer) if answer.starts_with("HTTP/1.1 200 ") => &seen.answered,
            other => {
                println!("lost: {other:?}");
                &seen.lost
            }
        };
        counter.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn under_socket_activation_nobody_is_refused_over_a_restart() {
    const RESTARTS: u64 = 5;
    let host = Setup::with(&["answers"]).start();
    host.tenant("acme", &["answers"]);
    let activator = Activator::new(host.stop());
    let seen = Arc::new(Seen::default());
    let mut running = activator.spawn();
    let clients: Vec<_> = [MARK, MARK, MARK, "/fixtures/answers/wait/30"]
        .into_iter()
        .map(|path| {
            let (seen, address) = (Arc::clone(&seen), activator.address());
            thread::spawn(move || ask_on(address, path, &seen))
        })
        .collect();
    for _ in 0..RESTARTS {
        let before = seen.answered.load(Ordering::Acquire);
        until("requests are answered", || seen.answered.load(Ordering::Acquire) >= before + 100);
        kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
        let status = until_some("the host ends", || running.try_wait().unwrap());
        assert!(status.success(), "{status}");
        running = activator.spawn();
    }
    let before = seen.answered.load(Ordering::Acquire);
    until("requests are answered", || seen.answered.load(Ordering::Acquire) >= before + 100);
    // A client that keeps its connection is told with an answer that it ends, or sees it closed between two.
    let mut kept = TcpStream::connect(activator.address()).unwrap();
    assert!(exchange(&mut kept, MARK).unwrap().starts_with("HTTP/1.1 200 "));
    seen.ended.store(true, Ordering::Release);
    clients.into_iter().for_each(|client| client.join().unwrap());
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    assert!(until_some("the host ends", || running.try_wait().unwrap()).success());
    assert_eq!(kept.read(&mut [0; 16]).unwrap(), 0, "it was closed, not reset");
    assert_eq!(seen.lost.load(Ordering::Acquire), 0, "of {}", seen.answered.load(Ordering::Acquire));
}

#[test]
fn sockets_that_are_passed_in_are_looked_at() {
    let activator = Activator::new(Setup::new());
    let mut command = activator.command();
    command.env("LISTEN_FDS", "3").stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = command.output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), told.contains("3 sockets were passed in")), (Some(1), true), "{told}");

    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = open.local_addr().unwrap();
    let activator = Activator { tenants: open, ..Activator::new(Setup::new()) };
    let ended = activator.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("{address} is no loopback address")), "{told}");

    // The sockets of somebody else's are left alone.
    let host = Setup::new().start_with(|command| {
        command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    });
    assert_eq!(host.ask_operators("GET", "/readyz").send().status, 200);
    host.stop();
}
