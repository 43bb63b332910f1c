//! One conversation with a mail server, in two halves: up to where the server is ready for the content, and the content.
//! Between them the caller writes down that it is being handed over.
//!
//! Blocks; every step has what is left of the time for the half. lettre speaks the protocol; its transport is not used,
//! because it does not stop between the halves and does not tell a server that refused from one that fell silent.

use std::time::{Duration, Instant};

use lettre::{
    Message,
    message::{Mailbox, MultiPart, SinglePart},
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{Certificate, SmtpConnection, TlsParameters},
        commands::{Data, Mail, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};

use crate::settings::{Security, Server};

/// How much of what a server says is kept.
const MAX_TEXT_CHARS: usize = 500;
/// For the farewell, when nothing depends on it any more.
const FAREWELL: Duration = Duration::from_secs(2);
/// Codes that are about the sender's login and not about the message. Source: RFC 4954, section 6.
const ABOUT_LOGIN: [u16; 3] = [530, 535, 538];

/// What is sent. The sender is the server's.
pub(crate) struct Letter {
    pub(crate) to: Mailbox,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: Option<String>,
    pub(crate) message_id: String,
    pub(crate) date: std::time::SystemTime,
}

/// Why a message was not handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It may go another time; the server did not take it.
    Passing(String),
    /// The server will never take it.
    Refused(String),
    /// The content was sent and no answer came: the server may have taken it.
    Unknown(String),
}

/// A server that waits for the content.
pub(crate) struct Ready {
    connection: SmtpConnection,
    content: Vec<u8>,
}

/// Where in the conversation something went wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Before the message: whatever is wrong here is not the message's fault.
    Login,
    Envelope,
    Content,
}

/// Connects, encrypts, logs in, and names sender and receiver.
pub(crate) fn begin(server: &Server, letter: Letter, limit: Duration) -> Result<Ready, Trouble> {
    let until = Instant::now() + limit;
    let (from, to) = (server.from.email.clone(), letter.to.email.clone());
    let content = written(server, letter).map_err(|error| Trouble::Refused(format!("it can't be written: {error}")))?;
    let mut connection = connect(server, until).map_err(|error| trouble(&error, Half::Login))?;
    if let Some((username, password)) = &server.login {
        rest_of(&mut connection, until)?;
        let credentials = Credentials::new(username.clone(), password.clone());
        let known = [Mechanism::Plain, Mechanism::Login];
        connection.auth(&known, &credentials).map_err(|error| trouble(&error, Half::Login))?;
    }
    let is_able = |extension| connection.server_info().supports_feature(extension);
    let mut options = Vec::new();
    if !(from.to_string().is_ascii() && to.to_string().is_ascii()) {
        if !is_able(Extension::SmtpUtfEight) {
            return Err(Trouble::Refused("the server takes no addresses with letters outside ASCII".to_owned()));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !content.is_ascii() {
        if !is_able(Extension::EightBitMime) {
            return Err(Trouble::Refused("the server takes no headers with letters outside ASCII".to_owned()));
        }
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    rest_of(&mut connection, until)?;
    connection.command(Mail::new(Some(from), options)).map_err(|error| trouble(&error, Half::Envelope))?;
    rest_of(&mut connection, until)?;
    connection.command(Rcpt::new(to, Vec::new())).map_err(|error| trouble(&error, Half::Envelope))?;
    Ok(Ready { connection, content })
}

/// Sends the content, and returns what the server said when it took it; the connection for [`leave`].
pub(crate) fn hand_over(ready: Ready, limit: Duration) -> Result<(String, SmtpConnection), Trouble> {
    let Ready { mut connection, content } = ready;
    let until = Instant::now() + limit;
    rest_of(&mut connection, until)?;
    connection.command(Data).map_err(|error| trouble(&error, Half::Envelope))?;
    rest_of(&mut connection, until)?;
    let reply = connection.message(&content).map_err(|error| trouble(&error, Half::Content))?;
    let said = format!("{} {}", reply.code(), reply.message().collect::<Vec<_>>().join(" "));
    Ok((clean(&said), connection))
}

/// Says goodbye. Nothing depends on it.
pub(crate) fn leave(mut connection: SmtpConnection) {
    if connection.set_timeout(Some(FAREWELL)).is_ok() {
        let _ = connection.quit();
    }
}

/// Gives the next step what is left of the time.
fn rest_of(connection: &mut SmtpConnection, until: Instant) -> Result<(), Trouble> {
    let rest = until.saturating_duration_since(Instant::now());
    if rest.is_zero() {
        return Err(Trouble::Passing("the server took too long".to_owned()));
    }
    connection.set_timeout(Some(rest)).map_err(|error| Trouble::Passing(error.to_string()))
}

fn connect(server: &Server, until: Instant) -> Result<SmtpConnection, lettre::transport::smtp::Error> {
    let rest = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let hello = server.hello_name.clone().map_or_else(ClientId::default, ClientId::Domain);
    let address = (server.host.as_str(), server.port);
    let tls = || {
        let mut tls = TlsParameters::builder(server.host.clone());
        if let Some(ca) = &server.ca {
            tls = tls.add_root_certificate(Certificate::from_pem(ca.as_bytes())?);
        }
        tls.build()
    };
    match server.security {
        Security::None => SmtpConnection::connect(address, Some(rest), &hello, None, None),
        Security::Tls => SmtpConnection::connect(address, Some(rest), &hello, Some(&tls()?), None),
        Security::Starttls => {
            let tls = tls()?;
            let mut connection = SmtpConnection::connect(address, Some(rest), &hello, None, None)?;
            // Fails where the server does not offer it: nothing is sent in plain text instead.
            connection.starttls(&tls, &hello)?;
            Ok(connection)
        }
    }
}

fn written(server: &Server, letter: Letter) -> Result<Vec<u8>, lettre::error::Error> {
    let message = Message::builder()
        .from(server.from.clone())
        .to(letter.to)
        .subject(letter.subject)
        .message_id(Some(letter.message_id))
        .date(letter.date);
    let message = match letter.html {
        None => message.singlepart(SinglePart::plain(letter.text)),
        Some(html) => message.multipart(MultiPart::alternative_plain_html(letter.text, html)),
    };
    Ok(message?.formatted())
}

fn trouble(error: &lettre::transport::smtp::Error, half: Half) -> Trouble {
    let text = clean(&error.to_string());
    let is_about_login = error.status().is_some_and(|code| ABOUT_LOGIN.contains(&u16::from(code)));
    match (half, error.status().is_some()) {
        (Half::Envelope | Half::Content, true) if error.is_permanent() && !is_about_login => Trouble::Refused(text),
        (Half::Content, false) => Trouble::Unknown(text),
        _ => Trouble::Passing(text),
    }
}

/// What a server says is shown to people: one line, not too long.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT_CHARS).collect()
}
