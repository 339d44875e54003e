//! CEL expressions of rules: compiled once, bounded in what they can cost. No I/O.
//!
//! Length and nesting are bounded, there are no loops (`all`, `exists`, `map`, `filter`), and patterns are known
//! beforehand. What an evaluation can cost is told before it begins; all evaluations about one object share one budget,
//! so that neither a rule nor an object can be made to hold a process up ([`Subject`]). No function knows the time or
//! anything else but the variables, so that the same object always gives the same result.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::{Env, IdedExpr};
use serde_json::Value;

mod cost;
mod json;

use cost::Cost;

/// Characters of an expression at most.
pub const LIMIT: usize = 512;
/// Brackets in brackets at most.
const DEPTH: usize = 24;
/// Bytes of a result at most, about.
const RESULT: usize = 64 << 10;
/// What an evaluation costs beside its values.
const EVALUATION: u64 = 256;
/// What all evaluations about one object may cost.
const BUDGET: u64 = 64 << 20;

/// Functions that cost no more than the size of what they are applied to.
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
    cost: Cost,
}

/// An object that expressions are evaluated about, and what that may still cost. For one piece of work: the budget does
/// not come back.
pub struct Subject<'a> {
    object: &'a Value,
    cluster: &'a str,
    namespace: &'a str,
    size: OnceCell<u64>,
    left: Cell<u64>,
    with_object: OnceCell<cel::Context<'static, 'static>>,
    without: OnceCell<cel::Context<'static, 'static>>,
}

impl fmt::Debug for Subject<'_> {
    /// Not the object, which may be long or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'a> Subject<'a> {
    /// An object of the virtual cluster of that name and host namespace.
    pub const fn new(object: &'a Value, cluster: &'a str, namespace: &'a str) -> Self {
        Self {
            object,
            cluster,
            namespace,
            size: OnceCell::new(),
            left: Cell::new(BUDGET),
            with_object: OnceCell::new(),
            without: OnceCell::new(),
        }
    }

    fn size(&self) -> u64 {
        *self.size.get_or_init(|| cost::size(self.object))
    }

    fn take(&self, cost: u64) -> Result<(), Failure> {
        let left = self.left.get().checked_sub(cost);
        self.left.set(left.ok_or(Failure::TooCostly)?);
        Ok(())
    }

    /// The variables but `value`, which are the same for every evaluation.
    fn variables(&self, uses_object: bool) -> &cel::Context<'static, 'static> {
        let made = if uses_object {
            &self.with_object
        } else {
            &self.without
        };
        made.get_or_init(|| {
            let mut context = cel::Context::with_env(Arc::clone(&ENVIRONMENT));
            if uses_object {
                context.add_variable_from_value("object", json::to_cel(self.object));
            }
            let cluster = HashMap::from([
                ("name".to_owned(), cel::Value::from(self.cluster)),
                ("namespace".to_owned(), cel::Value::from(self.namespace)),
            ]);
            context.add_variable_from_value("cluster", cluster);
            context
        })
    }
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
    /// A text that only the object knows.
    #[error("must give {0} a text in quotes, not what an object says")]
    Unknowable(String),
    /// A pattern that is none, or too large.
    #[error("has a pattern that is not a regular expression, or too large a one: {0:?}")]
    Pattern(String),
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
    /// The object is too large for its rule.
    #[error("the object is too large, or names too much, for the expressions of its rule")]
    TooCostly,
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
        let ast = ENVIRONMENT
            .parser()
            .parse(source)
            .map_err(|errors| Error::Syntax(one_line(&errors.to_string())))?;
        let cost = Cost::of(&ast)?;
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
            cost,
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The result, `value` being what is at the place that is changed; null for none.
    ///
    /// # Errors
    /// The values do not fit the expression, or it would cost too much.
    pub fn evaluate(&self, value: Option<&Value>, subject: &Subject<'_>) -> Result<Value, Failure> {
        let used = self.ast.references();
        let value = value.filter(|_| used.has_variable("value"));
        let uses_object = used.has_variable("object");
        let object = if uses_object { subject.size() } else { 0 };
        let size = EVALUATION + value.map_or(0, cost::size) + object;
        subject.take(self.cost.with(size))?;
        let mut context = subject.variables(uses_object).new_inner_scope();
        context.add_variable_from_value("value", value.map_or(cel::Value::Null, json::to_cel));
        let result = context
            .resolve(&self.ast)
            .map_err(|error| Failure::Evaluation(brief(&error)))?;
        json::from_cel(&result)
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// As [`Self::evaluate`], or it is neither true nor false.
    pub fn is_true(&self, subject: &Subject<'_>) -> Result<bool, Failure> {
        match self.evaluate(None, subject)? {
            Value::Bool(is_true) => Ok(is_true),
            Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => Err(Failure::Type("true or false")),
        }
    }
}

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings)
        .expect("an environment that was made just now has no other functions of these names");
    Arc::new(env)
});

/// The most brackets that are open at once, as far as it can be told: rather too many than too few. A bracket in a text
/// opens and does not close. Where it is not plain what a text is (escapes, three quotes), nothing closes.
fn depth(source: &str) -> usize {
    let is_plain = !["\\", "\"\"\"", "'''"]
        .iter()
        .any(|mark| source.contains(mark));
    let (mut open, mut most, mut quote) = (0_usize, 0, None);
    for c in source.bytes() {
        match (c, quote) {
            (b'(' | b'[' | b'{' | b'?' | b'!' | b'-', _) => open += 1,
            (b')' | b']' | b'}', None) if is_plain => open = open.saturating_sub(1),
            (b'"' | b'\'', None) => quote = Some(c),
            (_, Some(begun)) if c == begun => quote = None,
            (_, _) => {}
        }
        most = most.max(open);
    }
    most
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
