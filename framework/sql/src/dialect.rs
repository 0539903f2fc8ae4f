//! From text to one SELECT: DataFusion's parser, with interval literals in Spark's and in the standard's form.

use datafusion::common::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Expr, Query, Statement as SqlStatement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};
use tidegate_api::{Error, Result};
use tidegate_formats::interval::{self, Interval};

use crate::error::plan_error;

#[cfg(test)]
mod tests;

const UNITS: [&str; 9] = ["year", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond"];

/// Parses one query.
///
/// # Errors
/// `Config` if the text is no SQL, or not one SELECT.
pub(crate) fn parse_query(sql: &str) -> Result<Query> {
    let tokens = null_safe(intervals(tokenize(sql).map_err(plan_error)?));
    let mut parser = DFParserBuilder::new(tokens).with_dialect(&GenericDialect {}).build().map_err(plan_error)?;
    let mut statements = parser.parse_statements().map_err(plan_error)?;
    match (statements.pop_front(), statements.len()) {
        (Some(Statement::Statement(statement)), 0) => match *statement {
            SqlStatement::Query(query) => Ok(*query),
            other => Err(Error::config(format!("sql: expected a SELECT, found {other}"))),
        },
        (None, _) => Err(Error::config("sql: expected a SELECT, found nothing")),
        (Some(other), 0) => Err(Error::config(format!("sql: expected a SELECT, found {other}"))),
        (Some(_), more) => Err(Error::config(format!("sql: expected one SELECT, found {} statements", more + 1))),
    }
}

/// Parses an expression of ours.
pub(crate) fn parse_expr(sql: &str) -> Result<Expr> {
    let mut parser = DFParserBuilder::new(sql).with_dialect(&GenericDialect {}).build().map_err(plan_error)?;
    Ok(parser.parse_expr().map_err(plan_error)?.expr)
}

fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>, DataFusionError> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(ParserError::from)?;
    Ok(tokens)
}

/// Writes `IS NOT DISTINCT FROM` as `<=>`, which means the same: the parser would take all that follows, also behind an
/// AND, for its right side.
fn null_safe(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((token, tail)) = rest.split_first() {
        let mut after = Some(rest);
        for keyword in [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM] {
            let found = after.and_then(next).filter(|(it, _)| is_keyword(&it.token, keyword));
            after = found.map(|(_, tail)| tail);
        }
        match after.filter(|_| is_keyword(&token.token, Keyword::IS)) {
            Some(after) => {
                out.push(TokenWithSpan::new(Token::Spaceship, token.span));
                rest = after;
            }
            None => {
                out.push(token.clone());
                rest = tail;
            }
        }
    }
    out
}

/// Rewrites every interval literal to the one form that DataFusion reads in full:
/// `INTERVAL 5 MINUTES`, `INTERVAL '5' HOUR`, `INTERVAL 1 DAY 2 HOURS`, `INTERVAL '1 2:3:4' DAY TO SECOND`.
fn intervals(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((token, tail)) = rest.split_first() {
        out.push(token.clone());
        rest = tail;
        if !is_keyword(&token.token, Keyword::INTERVAL) {
            continue;
        }
        if let Some((text, span, after)) = literal(tail) {
            out.push(TokenWithSpan::new(Token::Whitespace(Whitespace::Space), span.span));
            out.push(TokenWithSpan::new(Token::SingleQuotedString(text), span.span));
            rest = after;
        }
    }
    out
}

/// The literal after INTERVAL in canonical form, its first token, and what follows it.
fn literal(tokens: &[TokenWithSpan]) -> Option<(String, &TokenWithSpan, &[TokenWithSpan])> {
    let (first, mut rest) = next(tokens)?;
    let (value, start) = match &first.token {
        Token::Minus | Token::Plus => {
            let (number, tail) = next(rest)?;
            rest = tail;
            let sign = if first.token == Token::Minus { "-" } else { "" };
            (format!("{sign}{}", number_text(number)?), first)
        }
        _ => (number_text(first)?.to_owned(), first),
    };
    let mut text = value;
    if let Some((unit, tail)) = next(rest).and_then(|(token, tail)| Some((unit_text(token)?, tail))) {
        (text, rest) = match upto(tail) {
            Some((last, tail)) => (format!("interval '{text}' {unit} to {last}"), tail),
            None => more(format!("{text} {unit}"), tail),
        };
    }
    Some((canonical(interval::parse(&text).ok()?), start, rest))
}

/// `TO SECOND`.
fn upto(tokens: &[TokenWithSpan]) -> Option<(String, &[TokenWithSpan])> {
    let (to, tail) = next(tokens)?;
    let (last, tail) = next(tail)?;
    is_keyword(&to.token, Keyword::TO).then_some((unit_text(last)?, tail))
}

/// Further pairs of number and unit: `2 HOURS 3 MINUTES`.
fn more(mut text: String, mut rest: &[TokenWithSpan]) -> (String, &[TokenWithSpan]) {
    while let Some((number, tail)) = next(rest)
        && let Some((unit, tail)) = next(tail)
        && let (Some(number), Some(unit)) = (number_text(number), unit_text(unit))
    {
        text = format!("{text} {number} {unit}");
        rest = tail;
    }
    (text, rest)
}

fn next(tokens: &[TokenWithSpan]) -> Option<(&TokenWithSpan, &[TokenWithSpan])> {
    let skipped = tokens.iter().take_while(|it| matches!(it.token, Token::Whitespace(_))).count();
    tokens.get(skipped..)?.split_first()
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword && word.quote_style.is_none())
}

fn number_text(token: &TokenWithSpan) -> Option<&str> {
    match &token.token {
        Token::Number(text, false) | Token::SingleQuotedString(text) => Some(text),
        _ => None,
    }
}

fn unit_text(token: &TokenWithSpan) -> Option<String> {
    let Token::Word(word) = &token.token else { return None };
    let unit = word.value.to_lowercase();
    let singular = unit.strip_suffix('s').unwrap_or(&unit);
    (word.quote_style.is_none() && UNITS.contains(&singular)).then_some(unit)
}

fn canonical(interval: Interval) -> String {
    let parts = [(interval.months, "months"), (interval.days, "days"), (interval.micros, "microseconds")];
    let parts: Vec<_> = parts.iter().filter(|(n, _)| *n != 0).map(|(n, unit)| format!("{n} {unit}")).collect();
    if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(" ") }
}
