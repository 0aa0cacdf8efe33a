//! From text to the parser's tree, bounded before anything recurses.

use sqlparser::ast::Expr;
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use super::{ExpressionError, MAX_EXPRESSION_BYTES, MAX_TOKENS};

/// Parses one expression and nothing behind it.
pub(super) fn parse(text: &str) -> Result<Expr, ExpressionError> {
    if text.len() > MAX_EXPRESSION_BYTES {
        let what = format!("the expression is longer than {MAX_EXPRESSION_BYTES} bytes");
        return Err(ExpressionError::nowhere(what));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| ExpressionError::nowhere(error.to_string()))?;
    let is_token =
        |token: &&sqlparser::tokenizer::TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let count = tokens.iter().filter(is_token).count();
    if count > MAX_TOKENS {
        let what = format!("the expression has {count} tokens, the limit is {MAX_TOKENS}");
        return Err(ExpressionError::nowhere(what));
    }
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(refused)?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        let (line, column) = (next.span.start.line, next.span.start.column);
        let what = format!("{:?} stands behind the end of the expression", next.token.to_string());
        return Err(ExpressionError::at(line, column, what));
    }
    Ok(parsed)
}

fn refused(error: ParserError) -> ExpressionError {
    ExpressionError::nowhere(match error {
        ParserError::ParserError(what) | ParserError::TokenizerError(what) => what,
        ParserError::RecursionLimitExceeded => "the expression is nested too deep".to_owned(),
    })
}
