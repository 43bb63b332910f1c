//! Reads tasks from CSV: a header, then a row for each task. Takes all rows or none, and tells everything
//! that is wrong with them at once. Stores nothing.

use csv::{ReaderBuilder, StringRecord, Trim};
use module_api::{prelude::*, rest::Problems};

use crate::task::{TaskBody, TaskFields};

const COLUMNS: [&str; 5] = ["title", "description", "status", "due", "assignee"];

/// Keeps one import well within the deadline of a request.
const MAX_ROWS: usize = 1_000;

/// A row that was checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Where the row begins; the header is on line 1.
    pub(crate) line: u64,
    pub(crate) fields: TaskFields,
}

/// Reads RFC 4180 with LF or CRLF, with or without a byte order mark. Cells are trimmed, blank lines skipped.
///
/// # Errors
///
/// 400 `import-unreadable` for a header that is missing or wrong; 422 `import-too-large` over 1,000 rows; 422
/// `import-invalid` with the line of each problem, or where there is no row.
pub(crate) fn read(text: &str) -> Result<Vec<Row>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let mut records = Vec::new();
    for record in reader.records() {
        records.push(record.map_err(|error| unreadable(error.to_string()))?);
    }
    let mut records = records.iter();
    let columns = columns(records.next())?;
    let rows = records.len();
    if rows > MAX_ROWS {
        let message = format!("there are {rows} rows, at most {MAX_ROWS} can be imported at once");
        return Err(Fault::new(422, "import-too-large", message).into());
    }
    if rows == 0 {
        return Err(invalid("there are no rows after the header"));
    }

    let (mut good, mut bad) = (Vec::with_capacity(rows), Vec::new());
    let mut lines = Lines::of(text);
    for record in records {
        let line = lines.at(record);
        let mut problems = Problems::default();
        let fields = if record.len() == columns.len() {
            Some(body(&columns, record).check(&mut problems))
        } else {
            let (found, expected) = (record.len(), columns.len());
            bad.push(format!("line {line}: the row has {found} cells, the header has {expected}"));
            None
        };
        bad.extend(problems.into_list().into_iter().map(|problem| format!("line {line}: {problem}")));
        good.extend(fields.map(|fields| Row { line, fields }));
    }
    if bad.is_empty() { Ok(good) } else { Err(invalid(format!("nothing was imported; {}", bad.join("; ")))) }
}

/// The columns in the order of the header.
fn columns(header: Option<&StringRecord>) -> Result<Vec<&'static str>> {
    let known = COLUMNS.join(", ");
    let Some(header) = header else {
        return Err(unreadable(format!("the text is empty; the first line must name the columns: {known}")));
    };
    let (mut columns, mut problems) = (Vec::new(), Vec::new());
    for cell in header {
        match COLUMNS.into_iter().find(|column| column.eq_ignore_ascii_case(cell)) {
            Some(column) if columns.contains(&column) => problems.push(format!("column `{column}` is there twice")),
            Some(column) => columns.push(column),
            None => problems.push(format!("`{cell}` is not a column; known are: {known}")),
        }
    }
    if !columns.contains(&"title") {
        problems.push("column `title` is missing from the first line".to_owned());
    }
    if header.len() == 1 && header.iter().any(|cell| cell.contains([';', '\t'])) {
        problems.push("columns must be separated by commas".to_owned());
    }
    if problems.is_empty() { Ok(columns) } else { Err(unreadable(problems.join("; "))) }
}

fn body(columns: &[&str], record: &StringRecord) -> TaskBody {
    let mut body = TaskBody::default();
    for (column, cell) in columns.iter().zip(record) {
        let field = match *column {
            "title" => &mut body.title,
            "description" => &mut body.description,
            "status" => &mut body.status,
            "due" => &mut body.due,
            _ => &mut body.assignee,
        };
        *field = Some(cell.to_owned());
    }
    body
}

/// Finds the lines that rows begin on. The reader's own count stands before the line ends and blank lines that
/// it skips on the way to a row, so it is too low after CRLF.
struct Lines<'a> {
    text: &'a [u8],
    /// What was counted up to: an offset into the text, and its line.
    counted: (usize, u64),
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self { text: text.as_bytes(), counted: (0, 1) }
    }

    /// The line of a record; records must come in order.
    fn at(&mut self, record: &StringRecord) -> u64 {
        let begin = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or_default();
        let (mut at, mut line) = self.counted;
        while let Some(&byte) = self.text.get(at)
            && (at < begin || matches!(byte, b'\r' | b'\n'))
        {
            let is_crlf = byte == b'\r' && self.text.get(at + 1) == Some(&b'\n');
            line += u64::from(matches!(byte, b'\r' | b'\n') && !is_crlf);
            at += 1;
        }
        self.counted = (at, line);
        line
    }
}

fn unreadable(message: impl Into<String>) -> Error {
    Fault::bad_request("import-unreadable", message).into()
}

fn invalid(message: impl Into<String>) -> Error {
    Fault::new(422, "import-invalid", message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(title: &str, status: &str, due: &str) -> TaskFields {
        let text = |text: &str| Some(text.to_owned());
        let body = TaskBody { title: text(title), status: text(status), due: text(due), ..TaskBody::default() };
        body.checked().unwrap()
    }

    fn refused(text: &str) -> (u16, String, String) {
        let error = read(text).unwrap_err();
        let fault = error.as_fault().unwrap();
        (fault.status(), fault.code().to_owned(), fault.message().to_owned())
    }

    #[test]
    fn rows_are_read_whatever_the_order_of_columns() {
        let rows = read("\u{feff}Due, TITLE ,status\r\n2026-11-30,\"Paint, twice\",done\r\n\r\n,Rest,\r\n").unwrap();
        assert_eq!(
            rows,
            [
                Row { line: 2, fields: fields("Paint, twice", "done", "2026-11-30") },
                Row { line: 4, fields: fields("Rest", "", "") },
            ]
        );
    }

    #[test]
    fn a_quoted_cell_may_span_lines_and_lines_are_still_counted() {
        let (_, _, message) = refused("title,description\nA,\"one\ntwo\"\n,x\nB,\"say \"\"hi\"\"\"\n");
        assert_eq!(message, "nothing was imported; line 4: `title` must not be empty");
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let (status, code, message) =
            refused("title,status,due\nA,late,2026-02-30\nB,open,2026-01-01\nC,open\n,open,\n");
        assert_eq!((status, code.as_str()), (422, "import-invalid"));
        assert_eq!(
            message,
            "nothing was imported; line 2: `status` must be one of open, in-progress, done, cancelled; \
             line 2: `due` must be a day of the calendar as YYYY-MM-DD; \
             line 4: the row has 2 cells, the header has 3; line 5: `title` must not be empty"
        );
    }

    #[test]
    fn a_wrong_header_is_told_whole() {
        for (text, expected) in [
            ("", "the text is empty; the first line must name the columns: title, description, status, due, assignee"),
            (
                "due,owner,due\n",
                "`owner` is not a column; known are: title, description, status, due, assignee; \
                 column `due` is there twice; column `title` is missing from the first line",
            ),
            (
                "title;due\nA;2026-01-01\n",
                "`title;due` is not a column; known are: title, description, status, due, assignee; \
                 column `title` is missing from the first line; columns must be separated by commas",
            ),
        ] {
            assert_eq!(refused(text), (400, "import-unreadable".to_owned(), expected.to_owned()));
        }
    }

    #[test]
    fn one_to_a_thousand_rows_are_taken() {
        assert_eq!(refused("title\n").1, "import-invalid");
        let text = |rows: usize| format!("title\n{}", "A\n".repeat(rows));
        assert_eq!(read(&text(1_000)).unwrap().len(), 1_000);
        assert_eq!(refused(&text(1_001)).1, "import-too-large");
    }
}
