//! CEL expressions of rules: compiled once, bounded in what they can cost. No I/O.
//!
//! Length and nesting are bounded, and there are no loops (`all`, `exists`, `map`, `filter`): an evaluation
//! takes time proportional to the expression and the object, whatever the object holds. No function knows the time
//! or anything else but the variables, so that the same object always gives the same result.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cel::common::ast::Expr;
use cel::{Env, IdedExpr};
use serde_json::Value;

/// Characters of an expression at most.
pub const LIMIT: usize = 512;
/// Brackets in brackets at most.
const DEPTH: usize = 24;
/// Bytes of a result at most.
const RESULT: usize = 64 << 10;

/// Functions that cost no more than their arguments' size.
const FUNCTIONS: [&str; 18] = [
    "bool",
    "charAt",
    "contains",
    "double",
    "endsWith",
    "has",
    "indexOf",
    "int",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "size",
    "startsWith",
    "string",
    "substring",
    "trim",
    "type",
    "upperAscii",
];

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: String,
    ast: Arc<IdedExpr>,
    env: Arc<Env>,
}

/// What an expression is evaluated with.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a> {
    /// What is at the place that is changed; nothing for a condition.
    pub value: Option<&'a Value>,
    /// The whole object.
    pub object: &'a Value,
    /// Name of the virtual cluster.
    pub cluster: &'a str,
    /// Its host namespace.
    pub namespace: &'a str,
}

/// Why an expression is refused, worded to follow the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing, or too much.
    #[error("must be 1 to {LIMIT} characters")]
    Length,
    /// Brackets in brackets in brackets.
    #[error("must not nest brackets more than {DEPTH} deep")]
    Depth,
    /// It does not compile.
    #[error("is not a CEL expression: {0}")]
    Syntax(String),
    /// It has a loop.
    #[error("must not have loops (all, exists, exists_one, map, filter)")]
    Loop,
    /// It names what is not there.
    #[error("names {name:?}: it can use {allowed}")]
    Unknown {
        /// What it names.
        name: String,
        /// What it could.
        allowed: String,
    },
}

/// Why an evaluation gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The values do not fit it.
    #[error("{0}")]
    Evaluation(String),
    /// The result is too large.
    #[error("the result is larger than {RESULT} bytes")]
    TooLarge,
    /// The result is a value that JSON lacks, or not the one that is needed.
    #[error("the result must be {0}")]
    Type(&'static str),
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source)
    }
}

impl Expression {
    /// Compiles an expression that may name `variables`.
    ///
    /// # Errors
    /// It is none, or could cost too much.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, Error> {
        if source.is_empty() || source.len() > LIMIT {
            return Err(Error::Length);
        }
        // Before the parser, which calls itself for each of them.
        if depth(source) > DEPTH {
            return Err(Error::Depth);
        }
        let env = environment();
        let ast = env
            .parser()
            .parse(source)
            .map_err(|errors| Error::Syntax(one_line(&errors.to_string())))?;
        if has_loop(&ast) {
            return Err(Error::Loop);
        }
        let references = ast.references();
        let mut unknown = references
            .variables()
            .into_iter()
            .filter(|name| !variables.contains(name));
        if let Some(name) = unknown.next() {
            let allowed = format!("the variables {}", variables.join(", "));
            return Err(Error::Unknown {
                name: name.to_owned(),
                allowed,
            });
        }
        let is_word = |name: &&str| name.starts_with(|c: char| c.is_ascii_alphabetic());
        let mut unknown = references
            .functions()
            .into_iter()
            .filter(is_word)
            .filter(|name| !FUNCTIONS.contains(name));
        if let Some(name) = unknown.next() {
            let allowed = format!("the functions {}", FUNCTIONS.join(", "));
            return Err(Error::Unknown {
                name: name.to_owned(),
                allowed,
            });
        }
        Ok(Self {
            source: source.to_owned(),
            ast: Arc::new(ast),
            env: Arc::new(env),
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The result; null for none.
    ///
    /// # Errors
    /// The values do not fit the expression.
    pub fn evaluate(&self, variables: Variables<'_>) -> Result<Value, Failure> {
        let mut context = cel::Context::with_env(Arc::clone(&self.env));
        let used = self.ast.references();
        if used.has_variable("value") {
            context
                .add_variable_from_value("value", variables.value.map_or(cel::Value::Null, to_cel));
        }
        if used.has_variable("object") {
            context.add_variable_from_value("object", to_cel(variables.object));
        }
        let cluster = HashMap::from([
            ("name".to_owned(), cel::Value::from(variables.cluster)),
            (
                "namespace".to_owned(),
                cel::Value::from(variables.namespace),
            ),
        ]);
        context.add_variable_from_value("cluster", cluster);
        let result = context
            .resolve(&self.ast)
            .map_err(|error| Failure::Evaluation(brief(&error)))?;
        let json = result
            .json()
            .map_err(|_unfit| Failure::Type("a value that JSON has"))?;
        if json.to_string().len() > RESULT {
            return Err(Failure::TooLarge);
        }
        Ok(json)
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// As [`Self::evaluate`], or it is neither true nor false.
    pub fn is_true(&self, variables: Variables<'_>) -> Result<bool, Failure> {
        match self.evaluate(variables)? {
            Value::Bool(is_true) => Ok(is_true),
            Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => Err(Failure::Type("true or false")),
        }
    }
}

fn environment() -> Env {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings)
        .expect("an environment that was made just now has no other functions of these names");
    env
}

/// The most brackets that are open at once, texts not looked into: one in a text counts too much, never too little.
fn depth(source: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for c in source.bytes() {
        match c {
            b'(' | b'[' | b'{' | b'?' | b'!' | b'-' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _other => {}
        }
        most = most.max(open);
    }
    most
}

fn has_loop(expression: &IdedExpr) -> bool {
    use cel::common::ast::EntryExpr;
    let entries = |entries: &[cel::common::ast::IdedEntryExpr]| {
        entries.iter().any(|entry| match &entry.expr {
            EntryExpr::StructField(field) => has_loop(&field.value),
            EntryExpr::MapEntry(entry) => has_loop(&entry.key) || has_loop(&entry.value),
        })
    };
    match &expression.expr {
        Expr::Comprehension(_) => true,
        Expr::Call(call) => {
            call.target.iter().any(|target| has_loop(target)) || call.args.iter().any(has_loop)
        }
        Expr::List(list) => list.elements.iter().any(has_loop),
        Expr::Map(map) => entries(&map.entries),
        Expr::Struct(made) => entries(&made.entries),
        Expr::Select(select) => has_loop(&select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => false,
    }
}

/// JSON as CEL has it. Whole numbers are `int`, as in Kubernetes.
fn to_cel(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => number.as_i64().map_or_else(
            || cel::Value::Float(number.as_f64().unwrap_or_default()),
            cel::Value::Int,
        ),
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(members) => {
            let members: HashMap<String, cel::Value> = members
                .iter()
                .map(|(key, value)| (key.clone(), to_cel(value)))
                .collect();
            members.into()
        }
    }
}

/// Why an evaluation failed, without the values, which may be long or secret.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive, and every other error is told in the same words"
)]
fn brief(error: &cel::ExecutionError) -> String {
    use cel::ExecutionError as E;
    match error {
        E::NoSuchKey(key) => format!("there is no {key:?}"),
        E::NoSuchOverload(overload) => overload.to_string(),
        E::UndeclaredReference(name) => format!("{name:?} is unknown"),
        E::UnexpectedType { got, want } => format!("a {got} is not a {want}"),
        E::FunctionError { function, .. } => format!("{function} cannot be applied"),
        E::IndexOutOfBounds(_) => "an index is out of bounds".to_owned(),
        E::DivisionByZero(_) | E::RemainderByZero(_) => "a division by zero".to_owned(),
        E::Overflow(..) => "a number is too large".to_owned(),
        E::UnsupportedBinaryOperator(..) | E::ValuesNotComparable(..) => {
            "an operator does not fit the values".to_owned()
        }
        _other => "the values do not fit the expression".to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests;
