//! `tenon export` and `tenon import`: everything that a store holds, into a file and out of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    answers::Imported,
    args::{Export, Import},
    client::Client,
    exit,
    failure::Failure,
    output::Output,
};

/// How much of a file is sent at a time.
const PIECE: usize = 256 << 10;

/// What the last line of an export begins with.
const END: &[u8] = b"{\"end\":";

/// Looks at lines as they pass by: how many there are, and whether the last one is an export's.
#[derive(Default)]
struct Lines {
    count: u64,
    /// The beginning of the line that came last.
    begin: Vec<u8>,
    is_whole: bool,
}

impl Lines {
    fn pass(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.is_whole {
                (self.is_whole, self.begin) = (false, Vec::new());
            }
            if *byte == b'\n' {
                self.is_whole = true;
                self.count += 1;
            } else if self.begin.len() < END.len() {
                self.begin.push(*byte);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_whole && self.begin == END
    }
}

/// Reads everything out into a file, which only its owner can read and which is there only when it is whole.
pub(super) fn export(host: &Client, what: &Export) -> Result<Output, Failure> {
    let path = "/admin/v1/export";
    let mut lines = Lines::default();
    if what.file == Path::new("-") {
        let mut stdout = io::stdout().lock();
        host.download(path, |piece| {
            lines.pass(piece);
            stdout.write_all(piece)
        })?;
        stdout.flush()?;
    } else {
        let part = PathBuf::from(format!("{}.part", what.file.display()));
        // What is there may be another's, or a link: it would keep its mode, or lead elsewhere.
        match fs::remove_file(&part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_file(&part, &error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let mut file = file.map_err(|error| of_file(&part, &error))?;
        let written = host.download(path, |piece| {
            lines.pass(piece);
            file.write_all(piece)
        });
        let written = written.and_then(|()| Ok(file.sync_all()?));
        if let Err(failure) = written {
            let _ = fs::remove_file(&part);
            return Err(failure);
        }
        if lines.is_over() {
            fs::rename(&part, &what.file)?;
        } else {
            fs::remove_file(&part)?;
        }
    }
    if !lines.is_over() {
        return Err(Failure::CutOff { why: "its last line is missing".to_owned() });
    }
    // All but the first line and the last.
    Ok(Output::default().remark(format!("{} records exported", lines.count.saturating_sub(2))))
}

/// That a file can't be had as it was named.
fn of_file(file: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("`{}`: {error}", file.display()))
}

fn open(file: &Path) -> Result<File, Failure> {
    let opened = File::open(file).and_then(|opened| match opened.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(opened),
    });
    opened.map_err(|error| of_file(file, &error))
}

/// Writes a file that was exported into the host's store.
pub(super) fn import(host: &Client, json: bool, what: &Import) -> Result<Output, Failure> {
    let mut from: Box<dyn Read + Send> =
        if what.file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(open(&what.file)?) };
    let pieces = std::iter::from_fn(move || {
        let mut piece = vec![0; PIECE];
        match from.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some(Ok(Bytes::from(piece)))
            }
            Err(error) => Some(Err(error)),
        }
    });
    let answer = host.upload("/admin/v1/import", pieces)?;
    let imported: Imported = host.view(&answer)?;
    let mut output = if json {
        Output::json(&answer)
    } else {
        let Imported { written, there, .. } = imported;
        Output::text(format_args!("Imported: {written} records written, {there} were there already\n"))
    };
    for refused in imported.refused {
        let who = refused.tenant_id.map_or_else(|| "flag definitions".to_owned(), |id| format!("tenant {id}"));
        output = output.remark(format!("not imported: {who}: {}", refused.reason));
        output.exit = exit::CONFLICT;
    }
    Ok(output)
}
