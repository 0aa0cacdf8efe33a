//! From the parser's tree to nodes whose types fit. What is not SQL's scalar core is refused with its place.

use std::collections::BTreeSet;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CeilFloorKind, DateTimeField, Expr, Function as Called, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, InTarget, Spanned, UnaryOperator, Value as Literal,
};
use thermae_formats::{Scalar, ValueType};

use super::datum::Comparison;
use super::functions::{Function, Takes};
use super::node::{Arithmetic, Node};
use super::types::{
    KNOWN, calculated, cast_to, common, is, is_float, is_integer, is_known, is_number,
};
use super::{Column, ExpressionError, MAX_DEPTH};

/// A node and the type of what it gives; a null alone has none.
pub(super) type Typed = (Node, Option<ValueType>);

pub(super) struct Compiler<'c> {
    columns: &'c [Column],
    inputs: BTreeSet<usize>,
}

/// An error at the place of a part of the tree.
pub(super) fn wrong(at: &impl Spanned, what: impl Into<String>) -> ExpressionError {
    let start = at.span().start;
    ExpressionError::at(start.line, start.column, what)
}

impl<'c> Compiler<'c> {
    pub fn new(columns: &'c [Column]) -> Self {
        Compiler { columns, inputs: BTreeSet::new() }
    }

    /// Places of the columns that were named, rising.
    pub fn into_inputs(self) -> Vec<usize> {
        self.inputs.into_iter().collect()
    }

    pub fn compile(&mut self, expr: &Expr, depth: usize) -> Result<Typed, ExpressionError> {
        if depth > MAX_DEPTH {
            return Err(wrong(expr, format!("nested deeper than {MAX_DEPTH}: make it of parts")));
        }
        let depth = depth + 1;
        match expr {
            Expr::Nested(of) => self.compile(of, depth),
            Expr::Identifier(name) => self.column(name),
            Expr::Value(value) => literal(&value.value).map_err(|what| wrong(expr, what)),
            Expr::UnaryOp { op, expr: of } => self.unary(*op, of, depth),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, depth),
            Expr::IsNull(of) => Ok(boolean(Node::IsNull(Box::new(self.compile(of, depth)?.0)))),
            Expr::IsNotNull(of) => {
                Ok(boolean(not(Node::IsNull(Box::new(self.compile(of, depth)?.0)))))
            }
            Expr::Between { expr: of, negated, low, high } => {
                let [low, high] = [(Comparison::GtEq, low), (Comparison::LtEq, high)]
                    .map(|(op, bound)| self.comparison(of, op, bound, depth).map(|(node, _)| node));
                let node = Node::And(Box::new([low?, high?]));
                Ok(boolean(if *negated { not(node) } else { node }))
            }
            Expr::In { expr: of, target: InTarget::List(list), negated, global: false } => {
                let node = self.in_list(of, list, depth)?;
                Ok(boolean(if *negated { not(node) } else { node }))
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), depth)
            }
            Expr::Cast { expr: of, data_type, format: None, .. } => {
                let (node, from) = self.compile(of, depth)?;
                let to = data_type.to_string().to_ascii_lowercase();
                let to = to.parse::<ValueType>().map_err(|e| wrong(expr, e.to_string()))?;
                let scalar = cast_to(from.as_ref(), &to).map_err(|what| wrong(&**of, what))?;
                Ok((Node::Cast { of: Box::new(node), to: scalar }, Some(to)))
            }
            Expr::Ceil { expr: of, field } if is_plain(field) => {
                self.call(Function::Ceil, "ceil", expr, &[of], depth)
            }
            Expr::Floor { expr: of, field } if is_plain(field) => {
                self.call(Function::Floor, "floor", expr, &[of], depth)
            }
            Expr::Function(called) => self.function(expr, called, depth),
            Expr::CompoundIdentifier(_) => {
                let what =
                    format!("{expr}: columns are named without their view; {}", self.there());
                Err(wrong(expr, what))
            }
            other => Err(wrong(
                other,
                format!("{other:.60} is not among what expressions know: docs/transformations.md"),
            )),
        }
    }

    fn there(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        match names.as_slice() {
            [] => "there are no columns".to_owned(),
            names => format!("there are {}", names.join(", ")),
        }
    }

    fn column(&mut self, name: &Ident) -> Result<Typed, ExpressionError> {
        let at = self.columns.iter().position(|column| column.name == name.value);
        let Some((at, column)) = at.and_then(|at| Some((at, self.columns.get(at)?))) else {
            let what = format!("no column {:?}; {}", name.value, self.there());
            return Err(ExpressionError::at(name.span.start.line, name.span.start.column, what));
        };
        if !is_known(&column.value_type) {
            let what = format!("column {:?} is {}: {KNOWN}", name.value, column.value_type);
            return Err(ExpressionError::at(name.span.start.line, name.span.start.column, what));
        }
        self.inputs.insert(at);
        Ok((Node::Column(at), Some(column.value_type.clone())))
    }

    fn unary(
        &mut self,
        op: UnaryOperator,
        of: &Expr,
        depth: usize,
    ) -> Result<Typed, ExpressionError> {
        let (node, found) = self.compile(of, depth)?;
        let node = match op {
            UnaryOperator::Not => {
                expect(of, found.as_ref(), "a bool", |t| is(t, &[Scalar::Bool]))?;
                return Ok(boolean(not(node)));
            }
            UnaryOperator::Minus => match node {
                Node::Int(v) => Node::Int(-v),
                Node::Float(v) => Node::Float(-v),
                node => Node::Negate(Box::new(node)),
            },
            UnaryOperator::Plus => node,
            other => return Err(wrong(of, format!("the operator {other} is not known"))),
        };
        expect(of, found.as_ref(), "a number", is_number)?;
        Ok((node, found.map(|found| calculated(&found))))
    }

    fn binary(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        depth: usize,
    ) -> Result<Typed, ExpressionError> {
        let op = match op {
            BinaryOperator::Plus => Arithmetic::Add,
            BinaryOperator::Minus => Arithmetic::Subtract,
            BinaryOperator::Multiply => Arithmetic::Multiply,
            BinaryOperator::Divide => Arithmetic::Divide,
            BinaryOperator::Modulo => Arithmetic::Modulo,
            BinaryOperator::Eq => return self.comparison(left, Comparison::Eq, right, depth),
            BinaryOperator::NotEq => return self.comparison(left, Comparison::NotEq, right, depth),
            BinaryOperator::Lt => return self.comparison(left, Comparison::Lt, right, depth),
            BinaryOperator::LtEq => return self.comparison(left, Comparison::LtEq, right, depth),
            BinaryOperator::Gt => return self.comparison(left, Comparison::Gt, right, depth),
            BinaryOperator::GtEq => return self.comparison(left, Comparison::GtEq, right, depth),
            BinaryOperator::And | BinaryOperator::Or => {
                let both = Box::new([self.truth(left, depth)?, self.truth(right, depth)?]);
                let is_and = *op == BinaryOperator::And;
                return Ok(boolean(if is_and { Node::And(both) } else { Node::Or(both) }));
            }
            BinaryOperator::StringConcat => {
                return self.call(Function::Concat, "||", left, &[left, right], depth);
            }
            other => return Err(wrong(left, format!("the operator {other} is not known"))),
        };
        let (one, one_type) = self.compile(left, depth)?;
        let (two, two_type) = self.compile(right, depth)?;
        let is_time =
            |t: &Option<ValueType>| matches!(t, Some(ValueType::Scalar(Scalar::Timestamp)));
        let of = Box::new([one, two]);
        if op == Arithmetic::Subtract && is_time(&one_type) && is_time(&two_type) {
            return Ok((Node::Arithmetic { op, is_float: false, of }, Some(Scalar::Int64.into())));
        }
        expect(left, one_type.as_ref(), "a number", is_number)?;
        expect(right, two_type.as_ref(), "a number", is_number)?;
        let is_whole = |t: &Option<ValueType>| t.as_ref().is_none_or(is_integer);
        let is_float = op == Arithmetic::Divide || !is_whole(&one_type) || !is_whole(&two_type);
        let gives = if is_float { Scalar::Float64 } else { Scalar::Int64 };
        Ok((Node::Arithmetic { op, is_float, of }, Some(gives.into())))
    }

    fn truth(&mut self, of: &Expr, depth: usize) -> Result<Node, ExpressionError> {
        let (node, found) = self.compile(of, depth)?;
        expect(of, found.as_ref(), "a bool", |t| is(t, &[Scalar::Bool]))?;
        Ok(node)
    }

    fn comparison(
        &mut self,
        left: &Expr,
        op: Comparison,
        right: &Expr,
        depth: usize,
    ) -> Result<Typed, ExpressionError> {
        let (one, one_type) = self.compile(left, depth)?;
        let (two, two_type) = self.compile(right, depth)?;
        common(one_type.as_ref(), two_type.as_ref()).map_err(|what| wrong(right, what))?;
        Ok(boolean(Node::Compare { op, of: Box::new([one, two]) }))
    }

    fn in_list(&mut self, of: &Expr, list: &[Expr], depth: usize) -> Result<Node, ExpressionError> {
        let (node, of_type) = self.compile(of, depth)?;
        let mut nodes = Vec::with_capacity(list.len());
        for one in list {
            let (node, found) = self.compile(one, depth)?;
            common(of_type.as_ref(), found.as_ref()).map_err(|what| wrong(one, what))?;
            nodes.push(node);
        }
        Ok(Node::In { of: Box::new(node), list: nodes })
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        depth: usize,
    ) -> Result<Typed, ExpressionError> {
        let (mut whens, mut results) = (Vec::new(), Vec::new());
        for CaseWhen { condition, result } in conditions {
            whens.push(match operand {
                Some(operand) => self.comparison(operand, Comparison::Eq, condition, depth)?.0,
                None => self.truth(condition, depth)?,
            });
            results.push(result);
        }
        results.extend(otherwise);
        let (mut nodes, gives) = self.alike(&results, depth)?;
        let last = if otherwise.is_some() { nodes.pop() } else { None };
        let arms = whens.into_iter().zip(nodes).collect();
        let otherwise = Box::new(last.unwrap_or(Node::Null));
        Ok((Node::Case { arms, otherwise }, gives))
    }

    /// Nodes of one type: integers become floats where others are.
    fn alike(
        &mut self,
        all: &[&Expr],
        depth: usize,
    ) -> Result<(Vec<Node>, Option<ValueType>), ExpressionError> {
        let mut typed = Vec::with_capacity(all.len());
        let mut gives: Option<ValueType> = None;
        for expr in all {
            let (node, found) = self.compile(expr, depth)?;
            gives = common(gives.as_ref(), found.as_ref()).map_err(|what| wrong(*expr, what))?;
            typed.push((node, found));
        }
        let becomes_float = gives.as_ref().is_some_and(is_float);
        let nodes = typed.into_iter().map(|(node, found)| match found {
            Some(found) if becomes_float && is_integer(&found) => {
                Node::Cast { of: Box::new(node), to: Scalar::Float64 }
            }
            _ => node,
        });
        Ok((nodes.collect(), gives))
    }

    fn function(
        &mut self,
        expr: &Expr,
        called: &Called,
        depth: usize,
    ) -> Result<Typed, ExpressionError> {
        let name = called.name.to_string();
        let plain = match (&called.args, &called.parameters) {
            (FunctionArguments::List(list), FunctionArguments::None)
                if list.duplicate_treatment.is_none()
                    && list.clauses.is_empty()
                    && called.within_group.is_empty()
                    && called.filter.is_none()
                    && called.null_treatment.is_none()
                    && called.over.is_none() =>
            {
                let of = list.args.iter().map(|arg| match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                    _ => None,
                });
                of.collect::<Option<Vec<&Expr>>>()
            }
            _ => None,
        };
        let Some(of) = plain else {
            return Err(wrong(expr, format!("{name} is called in a way that is not known")));
        };
        if name.eq_ignore_ascii_case("as_of") && of.is_empty() {
            return Ok((Node::AsOf, Some(Scalar::Timestamp.into())));
        }
        let function = Function::named(&name).ok_or_else(|| {
            wrong(expr, format!("no function {name:?}; there are as_of, {}", Function::names()))
        })?;
        self.call(function, &name, expr, &of, depth)
    }

    fn call(
        &mut self,
        function: Function,
        name: &str,
        at: &Expr,
        of: &[&Expr],
        depth: usize,
    ) -> Result<Typed, ExpressionError> {
        let takes = function.takes();
        let least = match takes {
            Takes::Numbers(count) | Takes::Floats(count) | Takes::Integers(count) => count,
            Takes::Alike(count) | Takes::Texts(count) => count,
            Takes::Ordered | Takes::Time => 1,
        };
        if !(least..=function.most()).contains(&of.len()) {
            let many = if function.most() > least { " or more" } else { "" };
            let what = format!("{name} takes {least}{many} arguments, not {}", of.len());
            return Err(wrong(at, what));
        }
        if matches!(takes, Takes::Alike(_) | Takes::Ordered) {
            let (nodes, gives) = self.alike(of, depth)?;
            let is_good = |t: &ValueType| {
                takes != Takes::Ordered || is_number(t) || is(t, &[Scalar::Timestamp])
            };
            expect(at, gives.as_ref(), "numbers or timestamps", is_good)?;
            return Ok((Node::Call { function, of: nodes }, gives));
        }
        let (mut nodes, mut gives) = (Vec::with_capacity(of.len()), None);
        for arg in of {
            let (node, found) = self.compile(arg, depth)?;
            let found = found.as_ref();
            match takes {
                Takes::Numbers(_) | Takes::Floats(_) => expect(arg, found, "a number", is_number)?,
                Takes::Integers(_) => expect(arg, found, "an integer", is_integer)?,
                Takes::Time => expect(arg, found, "a timestamp", |t| is(t, &[Scalar::Timestamp]))?,
                _ => expect(arg, found, "a string", |t| is(t, &[Scalar::String]))?,
            }
            gives = found.map(calculated).or(gives);
            nodes.push(node);
        }
        let gives = function.gives(&gives);
        if function == Function::Div
            && let Ok(of) = <[Node; 2]>::try_from(std::mem::take(&mut nodes))
        {
            let (op, of) = (Arithmetic::Divide, Box::new(of));
            return Ok((Node::Arithmetic { op, is_float: false, of }, gives));
        }
        Ok((Node::Call { function, of: nodes }, gives))
    }
}

fn boolean(node: Node) -> Typed {
    (node, Some(Scalar::Bool.into()))
}

fn not(node: Node) -> Node {
    Node::Not(Box::new(node))
}

fn is_plain(field: &CeilFloorKind) -> bool {
    matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime))
}

/// Refuses a part that is not of the type that is asked for; null is of every type.
fn expect(
    at: &Expr,
    found: Option<&ValueType>,
    what: &str,
    is_good: impl Fn(&ValueType) -> bool,
) -> Result<(), ExpressionError> {
    match found {
        Some(found) if !is_good(found) => {
            Err(wrong(at, format!("{at:.60} is {found}, and {what} is asked for here")))
        }
        _ => Ok(()),
    }
}

fn literal(value: &Literal) -> Result<Typed, String> {
    Ok(match value {
        Literal::Null => (Node::Null, None),
        Literal::Boolean(v) => boolean(Node::Bool(*v)),
        Literal::SingleQuotedString(v) => (Node::Text(v.clone()), Some(Scalar::String.into())),
        Literal::Number(text, _) => match text.parse::<i64>() {
            Ok(v) => (Node::Int(v), Some(Scalar::Int64.into())),
            Err(_) if text.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(format!("{text} exceeds an int64: write {text}.0 for a float64"));
            }
            Err(_) => {
                let v = text.parse::<f64>().map_err(|e| format!("{text}: {e}"))?;
                (Node::Float(v), Some(Scalar::Float64.into()))
            }
        },
        other => return Err(format!("{other:.60} is no literal that expressions know")),
    })
}
