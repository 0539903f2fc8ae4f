//! Spark's boxed table.

/// Above the number of an epoch, and below.
const RULE: &str = "-------------------------------------------\n";
/// A column is never narrower.
const MIN_WIDTH: usize = 3;

/// An epoch as text: the header, the box, and what follows it. Rows above `num_rows` are not shown, only told of.
/// `truncate` is 0 for whole cells.
pub(crate) fn render(epoch: u64, names: &[String], rows: &[Vec<String>], num_rows: usize, truncate: usize) -> String {
    let mut out = format!("{RULE}Batch: {epoch}\n{RULE}");
    let shown = rows.get(..num_rows).unwrap_or(rows);
    let mut widths: Vec<usize> = names.iter().map(|name| half_width(name).max(MIN_WIDTH)).collect();
    for row in shown {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = half_width(cell).max(*width);
        }
    }
    let dashes: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let rule = format!("+{}+\n", dashes.join("+"));
    out.push_str(&rule);
    push_row(&mut out, names, &widths, truncate > 0);
    out.push_str(&rule);
    for row in shown {
        push_row(&mut out, row, &widths, truncate > 0);
    }
    out.push_str(&rule);
    if rows.len() > num_rows {
        let word = if num_rows == 1 { "row" } else { "rows" };
        out.push_str(&format!("only showing top {num_rows} {word}"));
    }
    out.push('\n');
    out
}

/// `text` with control characters written as escapes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let escaped = match c {
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{c}' => "\\f",
            '\u{8}' => "\\b",
            '\u{b}' => "\\v",
            '\u{7}' => "\\a",
            _ => {
                out.push(c);
                continue;
            }
        };
        out.push_str(escaped);
    }
    out
}

/// `text` cut to `most` characters, the last three of them dots if there is room. Characters are UTF-16's, as in Spark:
/// half of one outside the first plane is printed as `?`.
pub(crate) fn cut(text: String, most: usize) -> String {
    if most == 0 || text.len() <= most || text.encode_utf16().count() <= most {
        return text;
    }
    let kept = if most < 4 { most } else { most - 3 };
    let mut out = String::new();
    let mut units = 0;
    for c in text.chars() {
        units += c.len_utf16();
        if units > kept {
            break;
        }
        out.push(c);
    }
    let whole = out.encode_utf16().count();
    out.extend(std::iter::repeat_n('?', kept.saturating_sub(whole)));
    out.push_str(if most < 4 { "" } else { "..." });
    out
}

fn push_row(out: &mut String, cells: &[String], widths: &[usize], right: bool) {
    out.push('|');
    for (cell, width) in cells.iter().zip(widths) {
        let pad = " ".repeat(width.saturating_sub(half_width(cell)));
        let (before, after) = if right { (pad.as_str(), "") } else { ("", pad.as_str()) };
        out.push_str(before);
        out.push_str(cell);
        out.push_str(after);
        out.push('|');
    }
    if cells.is_empty() {
        out.push('|');
    }
    out.push('\n');
}

/// The width of `text` in columns of a terminal, by Spark's table of East Asian characters (`Utils.stringHalfWidth`).
fn half_width(text: &str) -> usize {
    let width = |c| match c {
        '\u{1100}'..='\u{115F}'
        | '\u{2E80}'..='\u{A4CF}'
        | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FE30}'..='\u{FE6F}'
        | '\u{FF00}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}' => 2,
        _ => char::len_utf16(c),
    };
    text.chars().map(width).sum()
}
