//! The words of a schema text.

use std::fmt;

use tidegate_api::Result;

use super::wrong;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name, keyword or number.
    Word(&'a str),
    /// A name in backticks or double quotes, with doubled quotes made single.
    Name(String),
    /// A text in single quotes; nobody needs what it says.
    Text,
    Symbol(char),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "'{word}'"),
            Self::Name(name) => write!(f, "`{name}`"),
            Self::Text => f.write_str("a text in quotes"),
            Self::Symbol(symbol) => write!(f, "'{symbol}'"),
            Self::End => f.write_str("the end"),
        }
    }
}

#[derive(Clone)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, position: 1 }
    }

    /// The next token and where it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, usize)> {
        let blank = self.rest.len() - self.rest.trim_start().len();
        self.take(blank);
        let position = self.position;
        let Some(first) = self.rest.chars().next() else { return Ok((Token::End, position)) };
        let token = match first {
            '`' | '"' => Token::Name(self.quoted(first)?),
            '\'' => {
                self.quoted(first)?;
                Token::Text
            }
            _ if is_word(first) => {
                let end = self.rest.find(|it| !is_word(it)).unwrap_or(self.rest.len());
                Token::Word(self.take(end))
            }
            _ => {
                self.take(first.len_utf8());
                Token::Symbol(first)
            }
        };
        Ok((token, position))
    }

    /// The token after the ones taken so far.
    pub(super) fn peek_after(&self) -> Result<Token<'a>> {
        Ok(self.clone().next()?.0)
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let start = self.position;
        self.take(1);
        let mut text = String::new();
        loop {
            let Some(end) = self.rest.find(quote) else {
                return Err(wrong(start, &format!("the quote {quote} is not closed")));
            };
            text.push_str(self.take(end));
            self.take(1);
            if !self.rest.starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.take(1);
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.position += taken.chars().count();
        self.rest = rest;
        taken
    }
}

fn is_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_'
}
