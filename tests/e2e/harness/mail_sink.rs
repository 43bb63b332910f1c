//! A mail server that keeps what it gets and behaves as it is told, on a port that the system chose.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

use super::{LONG, until};

/// How the server behaves from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes everything.
    Take,
    /// Refuses each receiver, for good.
    RefuseReceiver,
    /// Refuses each receiver for now.
    NotNow,
    /// Hangs up after the content, and says nothing.
    HangUp,
    /// Takes the content, and says so only when told by [`MailSink::release`].
    Hold,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// The arguments of MAIL and RCPT.
    pub(crate) envelope: [String; 2],
    /// Headers and body.
    pub(crate) content: String,
    /// Name and password, where the client logged in.
    pub(crate) login: Option<(String, String)>,
    /// Whether it came over TLS.
    pub(crate) encrypted: bool,
}

impl Received {
    /// A header's value, on one line.
    pub(crate) fn header(&self, name: &str) -> String {
        let (head, _) = self.content.split_once("\r\n\r\n").unwrap_or((&self.content, ""));
        let head = head.replace("\r\n ", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_default().to_owned()
    }
}

struct State {
    manner: Manner,
    received: Vec<Received>,
    connections: usize,
    released: bool,
    away: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    tls: Arc<ServerConfig>,
}

/// The server; ends with its test.
pub(crate) struct MailSink {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
    /// What a client has to trust.
    pub(crate) ca: String,
}

impl MailSink {
    /// Listens, and takes everything.
    pub(crate) fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let rcgen::CertifiedKey { cert, signing_key } = made.expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key))
            .expect("TLS");
        let state = State { manner: Manner::Take, received: Vec::new(), connections: 0, released: false, away: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), tls: Arc::new(tls) });
        let mut sink = Self { address: ([127, 0, 0, 1], 0).into(), shared, listening: None, ca: cert.pem() };
        sink.come_back();
        sink
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Behaves otherwise from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        let mut state = self.state();
        (state.manner, state.released) = (manner, false);
    }

    /// Lets those go on that are held.
    pub(crate) fn release(&self) {
        self.state().released = true;
        self.shared.changed.notify_all();
    }

    /// All that came, in its order.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> usize {
        self.state().connections
    }

    /// Waits until so many messages came.
    pub(crate) fn until_received(&self, count: usize) -> Vec<Received> {
        until(&format!("{count} messages arrive"), || self.state().received.len() >= count);
        self.received()
    }

    /// Closes the port.
    pub(crate) fn leave(&mut self) {
        self.state().away = true;
        // Wakes the listener, which then looks whether it is to end.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            listening.join().expect("the listener ends");
        }
    }

    /// Listens again, on the same port.
    pub(crate) fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the port is free");
        self.address = listener.local_addr().expect("an address");
        self.state().away = false;
        let shared = Arc::clone(&self.shared);
        self.listening = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.state().away {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&shared)) else { continue };
                shared.state().connections += 1;
                // A client that is gone is no failure of the server's.
                thread::spawn(move || drop(begin(stream, &shared)));
            }
        }));
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        self.release();
        if self.listening.is_some() {
            self.leave();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(LONG))?;
    let mut plain = Conversation { stream: BufReader::new(stream), shared, encrypted: false, login: None };
    plain.say("220 sink")?;
    if plain.talk()? {
        let connection = ServerConnection::new(Arc::clone(&shared.tls)).map_err(io::Error::other)?;
        let stream = BufReader::new(StreamOwned::new(connection, plain.stream.into_inner()));
        Conversation { stream, shared, encrypted: true, login: None }.talk()?;
    }
    Ok(())
}

struct Conversation<'a, S> {
    stream: BufReader<S>,
    shared: &'a Shared,
    encrypted: bool,
    login: Option<(String, String)>,
}

impl<S: Read + Write> Conversation<'_, S> {
    fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.stream.get_mut().flush()
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// Goes on until the client leaves; `true` where it wants to go on over TLS.
    fn talk(&mut self) -> io::Result<bool> {
        let mut envelope = [String::new(), String::new()];
        loop {
            let line = self.hear()?.trim_end().to_owned();
            let manner = self.shared.state().manner;
            match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
                "EHLO" => {
                    let starttls = if self.encrypted { "" } else { "250-STARTTLS\r\n" };
                    self.say(&format!("250-sink\r\n{starttls}250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN LOGIN"))?;
                }
                "STAR" => {
                    self.say("220 go on")?;
                    return Ok(true);
                }
                "AUTH" => {
                    let decoded = STANDARD.decode(line.rsplit(' ').next().unwrap_or_default()).unwrap_or_default();
                    let text = String::from_utf8_lossy(&decoded).into_owned();
                    let mut parts = text.split('\0').skip(1).map(str::to_owned);
                    self.login = parts.next().zip(parts.next());
                    self.say("235 welcome")?;
                }
                "MAIL" => {
                    line[10..].clone_into(&mut envelope[0]);
                    self.say("250 ok")?;
                }
                "RCPT" => match manner {
                    Manner::RefuseReceiver => self.say("550 5.1.1 no such mailbox here")?,
                    Manner::NotNow => self.say("451 4.3.0 come back later")?,
                    _ => {
                        line[8..].clone_into(&mut envelope[1]);
                        self.say("250 ok")?;
                    }
                },
                "DATA" => {
                    self.say("354 go on")?;
                    let mut content = String::new();
                    loop {
                        let line = self.hear()?;
                        if line == ".\r\n" {
                            break;
                        }
                        content.push_str(line.strip_prefix('.').unwrap_or(&line));
                    }
                    let (login, encrypted) = (self.login.clone(), self.encrypted);
                    let message = Received { envelope: envelope.clone(), content, login, encrypted };
                    let mut state = self.shared.state();
                    state.received.push(message);
                    if manner == Manner::Hold {
                        let held = self.shared.changed.wait_timeout_while(state, LONG, |state| !state.released);
                        drop(held);
                    } else {
                        drop(state);
                    }
                    if manner == Manner::HangUp {
                        return Ok(false);
                    }
                    self.say("250 2.0.0 taken")?;
                }
                "QUIT" => {
                    self.say("221 bye")?;
                    return Ok(false);
                }
                _ => self.say("250 ok")?,
            }
        }
    }
}
